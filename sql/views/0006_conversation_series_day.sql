-- One metric of one conversation over a window of whole days (UTC), from its days; accounts is empty for any. Parameters and rows:
-- fragments/series.sql. There are no percentiles: p50, p95 and p99 are null.
CREATE OR REPLACE VIEW ${database}.conversation_series_day ${on_cluster} AS
${include series nothing}
FROM
(
    ${include series_of_states}
    WHERE tier = 'conversation_day' AND conversation_id = {conversation:String} AND metric_name = {metric:String}
      AND ${include of_accounts} AND ${include in_both_windows t}
) AS state
${include series_sections}
