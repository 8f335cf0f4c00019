quantilesExactWeighted(0.5, 0.95, 0.99)(state.sum, 1) AS percentiles,
    1 AS has_percentiles
