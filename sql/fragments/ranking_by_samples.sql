quantilesExactWeightedIf(0.5, 0.95, 0.99)(state.sum, 1, by_percentile AND state.is_current) AS percentiles
