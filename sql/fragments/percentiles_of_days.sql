${include percentiles_of_buckets},
    -- Histograms are of days: a point shorter than a day and a window of other than whole days have none.
    notEmpty(buckets) AND (section != 'point' OR {step_s:UInt32} >= 86400) AND {from_ms:Int64} % 86400000 = 0 AND {to_ms:Int64} % 86400000 = 0 AS has_percentiles
