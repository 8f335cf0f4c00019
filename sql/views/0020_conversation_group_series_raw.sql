-- One metric of several conversations over a window, each by itself, from their samples; accounts is empty for any. Parameters and rows:
-- fragments/group_series.sql.
-- Percentiles are the value at rank ceil(q * n) of all samples, exactly.
CREATE OR REPLACE VIEW ${database}.conversation_group_series_raw ${on_cluster} AS
${include group_series samples}
    SELECT
        conversation_id AS group_id,
        ${include point timestamp},
        ${include sample_as_state}
    FROM ${table system_metrics}
    WHERE conversation_id IN {groups:Array(String)} AND metric_name = {metric:String} AND ${include of_accounts}
      -- The table is sorted by metric, account and time: the conversations' days tell whose ranges of it to read.
      AND account_id GLOBAL IN (
        SELECT account_id FROM ${table metric_rollups}
        WHERE tier = 'conversation_day' AND conversation_id IN {groups:Array(String)} AND metric_name = {metric:String}
          AND t >= toStartOfDay(fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')) AND t < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC'))
      AND ${include in_window timestamp}
${include group_series_sections}
