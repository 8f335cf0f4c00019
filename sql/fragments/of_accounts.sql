(empty({accounts:Array(String)}) OR account_id IN {accounts:Array(String)})
