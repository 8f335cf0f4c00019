${include percentiles_of_buckets},
    notEmpty(buckets) AS has_percentiles
