-- Rows as they are kept, unordered and unmerged: an interval may have several rows, which add up. The reader merges them, which takes
-- a third of the time that the finished series takes (metric_series_minute and its like).
SELECT
    t,
    count,
    sum,
    min,
    max,
    last,
    if(t >= {from:DateTime('UTC')}, histogram, ${include no_histogram}) AS histogram
FROM ${table metric_rollups}
