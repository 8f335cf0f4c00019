-- Sums of metrics, from their minutes. One figure i is the metric metrics[i] since starts_ms[i] (whole minutes in milliseconds
-- since 1970), the earliest of which is first_ms. A figure without a sample has no row.
CREATE OR REPLACE VIEW ${database}.overview_figures ${on_cluster} AS
SELECT
    toUInt32(figure) AS figure,
    sum(state.count) AS count,
    sum(state.sum) AS sum,
    tupleElement(max(state.last), 'value') AS last
FROM
(
    SELECT metric_name, t, count, sum, last
    FROM ${table metric_rollups}
    WHERE tier = 'minute' AND conversation_id = '' AND metric_name IN {metrics:Array(String)}
      AND t >= fromUnixTimestamp64Milli({first_ms:Int64}, 'UTC')
) AS state
ARRAY JOIN arrayEnumerate({metrics:Array(String)}) AS figure
WHERE state.metric_name = {metrics:Array(String)}[figure]
  AND state.t >= fromUnixTimestamp64Milli({starts_ms:Array(Int64)}[figure], 'UTC')
GROUP BY figure
ORDER BY figure
