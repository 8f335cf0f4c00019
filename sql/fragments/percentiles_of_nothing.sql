CAST([0, 0, 0], 'Array(Float64)') AS percentiles,
    0 AS has_percentiles
