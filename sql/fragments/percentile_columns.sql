CAST(if(has_percentiles, percentiles[1], NULL), 'Nullable(Float64)') AS p50,
    CAST(if(has_percentiles, percentiles[2], NULL), 'Nullable(Float64)') AS p95,
    CAST(if(has_percentiles, percentiles[3], NULL), 'Nullable(Float64)') AS p99
