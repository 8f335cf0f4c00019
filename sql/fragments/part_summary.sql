sumIf(state.count, state.is_${1}) AS ${2}_count,
    sumIf(state.sum, state.is_${1}) AS ${2}_sum,
    minIf(state.min, state.is_${1}) AS ${2}_min,
    maxIf(state.max, state.is_${1}) AS ${2}_max,
    maxIf(state.last, state.is_${1}) AS ${2}_newest,
    tupleElement(${2}_newest, 'value') AS ${2}_last
