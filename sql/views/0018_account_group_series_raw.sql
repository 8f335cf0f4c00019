-- One metric of several accounts over a window, each by itself, from their samples. Parameters and rows:
-- fragments/group_series.sql.
-- Percentiles are the value at rank ceil(q * n) of all samples, exactly.
CREATE OR REPLACE VIEW ${database}.account_group_series_raw ${on_cluster} AS
${include group_series samples}
    SELECT
        account_id AS group_id,
        ${include point timestamp},
        ${include sample_as_state}
    FROM ${table system_metrics}
    WHERE account_id IN {groups:Array(String)} AND metric_name = {metric:String} AND ${include in_window timestamp}
${include group_series_sections}
