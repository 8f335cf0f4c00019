multiIf({aggregate:String} = 'mean', ${1}_sum / ${1}_count, {aggregate:String} = 'sum', ${1}_sum, {aggregate:String} = 'max', ${1}_max, ${1}_last)
