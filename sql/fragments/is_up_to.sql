((created_at < until OR (created_at = until AND (id < {until_id:UUID} OR (id = {until_id:UUID} AND account_id >= {until_account:String}))))
            AND (created_at < fromUnixTimestamp64Milli({late_from_ms:Int64}, 'UTC') OR log_offset < arrayElement({ends:Array(UInt64)}, log_partition + 1)))
