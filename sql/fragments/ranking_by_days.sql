${include percentiles_of_buckets}
