-- The sums of the overview, from minutes. One figure i is the metric metrics[i] since starts_ms[i] (milliseconds since 1970).
-- A figure without a sample has no row.
CREATE OR REPLACE VIEW ${database}.overview_figures ${on_cluster} AS
SELECT
    toUInt32(figure) AS figure,
    sum(state.count) AS count,
    sum(state.sum) AS sum,
    max(state.max) AS max,
    tupleElement(max(state.last), 'value') AS last
FROM
(
    SELECT metric_name, t, count, sum, max, last
    FROM ${table metrics_1m}
    WHERE metric_name IN {metrics:Array(String)}
      AND t >= toDateTime(intDiv(arrayMin({starts_ms:Array(Int64)}), 1000), 'UTC')
) AS state
ARRAY JOIN arrayEnumerate({metrics:Array(String)}) AS figure
WHERE state.metric_name = {metrics:Array(String)}[figure]
  AND state.t >= toDateTime(intDiv({starts_ms:Array(Int64)}[figure], 1000), 'UTC')
GROUP BY figure
ORDER BY figure
