${1} >= fromUnixTimestamp64Milli({previous_from_ms:Int64}, 'UTC') AND ${1} < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
