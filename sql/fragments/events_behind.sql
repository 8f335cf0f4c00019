created_at <= before AND (created_at < before OR id < {before_id:UUID} OR (id = {before_id:UUID} AND account_id > {before_account:String}))
          AND ({severity:String} = '' OR severity = {severity:String})
          AND ({event_type:String} = '' OR event_type = {event_type:String})
          AND ${include of_accounts}
          AND is_vip >= {vip_only:UInt8}
