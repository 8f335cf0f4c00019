-- Different conversations with a sample or an event since an instant. One figure i counts since starts_ms[i], those with a
-- sample of metrics[i], or with any sample or event where that is empty. A figure without a conversation has no row.
CREATE OR REPLACE VIEW ${database}.conversations_seen ${on_cluster} AS
SELECT
    toUInt32(figure) AS figure,
    uniqExact(conversation_id) AS conversations
FROM
(
    SELECT conversation_id, metric_name, tupleElement(last, 'at') AS seen_at
    FROM ${table conversation_metrics_1d}
    WHERE t >= toStartOfDay(toDateTime(intDiv(arrayMin({starts_ms:Array(Int64)}), 1000), 'UTC')) AND conversation_id != ''
    UNION ALL
    SELECT conversation_id, '', created_at
    FROM ${table activity_events}
    WHERE created_at >= fromUnixTimestamp64Milli(arrayMin({starts_ms:Array(Int64)}), 'UTC') AND conversation_id != ''
) AS seen
ARRAY JOIN arrayEnumerate({starts_ms:Array(Int64)}) AS figure
WHERE seen_at >= fromUnixTimestamp64Milli({starts_ms:Array(Int64)}[figure], 'UTC')
  AND ({metrics:Array(String)}[figure] = '' OR metric_name = {metrics:Array(String)}[figure])
GROUP BY figure
ORDER BY figure
