timestamp >= window_start AS is_current,
            timestamp >= window_start AND timestamp < compared_end AS is_compared,
            timestamp < previous_end AS is_previous,
            ${include sample_as_state}
        FROM ${table system_metrics}
