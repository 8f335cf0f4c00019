-- One metric of several conversations over a window of whole days (UTC), each by itself, from their days; accounts is empty for any.
-- Parameters and rows: fragments/group_series.sql. There are no percentiles: p50, p95 and p99 are null.
CREATE OR REPLACE VIEW ${database}.conversation_group_series_day ${on_cluster} AS
${include group_series nothing}
    SELECT
        conversation_id AS group_id,
        ${include point t},
        count, sum, min, max, last, histogram
    FROM ${table metric_rollups}
    WHERE tier = 'conversation_day' AND conversation_id IN {groups:Array(String)} AND metric_name = {metric:String}
      AND ${include of_accounts} AND ${include in_window t}
${include group_series_sections}
