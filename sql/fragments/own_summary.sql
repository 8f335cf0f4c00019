sum(state.count) AS own_count,
    sum(state.sum) AS own_sum,
    min(state.min) AS own_min,
    max(state.max) AS own_max,
    max(state.last) AS own_newest,
    tupleElement(own_newest, 'value') AS own_last
