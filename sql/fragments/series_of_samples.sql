SELECT
        timestamp >= window_start AS is_current,
        timestamp < compared_end AS is_compared,
        ${include point timestamp},
        ${include sample_as_state}
    FROM ${table system_metrics}
