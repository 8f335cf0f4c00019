-- One metric of one conversation over a window, from its samples; accounts is empty for any. Parameters and rows: fragments/series.sql.
-- Percentiles are the value at rank ceil(q * n) of all samples, exactly.
CREATE OR REPLACE VIEW ${database}.conversation_series_raw ${on_cluster} AS
${include series samples}
FROM
(
    ${include series_of_samples}
    WHERE conversation_id = {conversation:String} AND metric_name = {metric:String} AND ${include of_accounts}
      -- The table is sorted by metric, account and time: the conversation's days tell whose range of it to read.
      AND account_id GLOBAL IN (
        SELECT account_id FROM ${table metric_rollups}
        WHERE tier = 'conversation_day' AND conversation_id = {conversation:String} AND metric_name = {metric:String}
          AND t >= toStartOfDay(fromUnixTimestamp64Milli({previous_from_ms:Int64}, 'UTC')) AND t < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC'))
      AND ${include in_both_windows timestamp}
) AS state
${include series_sections}
