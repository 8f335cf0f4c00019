sumMap(state.histogram) AS buckets,
    -- Each the value its bucket stands for, never beyond what was seen.
    arrayMap(
        bucket -> greatest(own_min, least(own_max, ${bucket_value})),
        arrayReduce('quantilesExactWeighted(0.5, 0.95, 0.99)', mapKeys(buckets), mapValues(buckets))) AS percentiles
