-- Sums of metrics of some accounts together. One figure i is the metric metrics[i] since starts_ms[i] (milliseconds since 1970), counted from
-- samples where of_samples[i] is 1, else from hours, where a start is a whole hour. first_sample_ms and first_hour_ms are the earliest start of
-- each kind; later than any time where there is none. A figure without a sample has no row.
CREATE OR REPLACE VIEW ${database}.account_overview_figures ${on_cluster} AS
SELECT
    toUInt32(figure) AS figure,
    sum(state.count) AS count,
    sum(state.sum) AS sum,
    tupleElement(max(state.last), 'value') AS last
FROM
(
    SELECT metric_name, toDateTime64(t, 3, 'UTC') AS at, 0 AS is_sample, count, sum, min, max, last
    FROM ${table metric_rollups}
    WHERE tier = 'account_hour' AND conversation_id = '' AND metric_name IN {metrics:Array(String)} AND account_id IN {accounts:Array(String)}
      AND t >= fromUnixTimestamp64Milli({first_hour_ms:Int64}, 'UTC')
    UNION ALL
    SELECT
        metric_name, timestamp AS at, 1 AS is_sample,
        ${include sample_as_state}
    FROM ${table system_metrics}
    WHERE metric_name IN {metrics:Array(String)} AND account_id IN {accounts:Array(String)}
      AND timestamp >= fromUnixTimestamp64Milli({first_sample_ms:Int64}, 'UTC')
) AS state
ARRAY JOIN arrayEnumerate({metrics:Array(String)}) AS figure
WHERE state.metric_name = {metrics:Array(String)}[figure]
  AND state.is_sample = {of_samples:Array(UInt8)}[figure]
  AND state.at >= fromUnixTimestamp64Milli({starts_ms:Array(Int64)}[figure], 'UTC')
GROUP BY figure
ORDER BY figure
