t >= window_start AS is_current,
            t >= window_start AND t < compared_end AS is_compared,
            t < previous_end AS is_previous,
            count, sum, min, max, last,
            if({order_by:String} IN ('p50', 'p95', 'p99') AND t >= window_start, histogram, ${include no_histogram}) AS histogram
        FROM ${table metric_rollups}
