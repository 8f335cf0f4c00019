1 AS count,
        value AS sum,
        value AS min,
        value AS max,
        CAST((timestamp, value), 'Tuple(at DateTime64(3, \'UTC\'), value Float64)') AS last
