SELECT
        t >= window_start AS is_current,
        t < compared_end AS is_compared,
        ${include point t},
        count, sum, min, max, last,
        if(t >= window_start, histogram, ${include no_histogram}) AS histogram
    FROM ${table metric_rollups}
