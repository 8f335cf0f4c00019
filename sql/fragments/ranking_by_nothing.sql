CAST([0, 0, 0], 'Array(Float64)') AS percentiles
