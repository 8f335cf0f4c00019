-- One metric of some accounts together over a window, from its samples. Parameters and rows: fragments/series.sql.
-- Percentiles are the value at rank ceil(q * n) of all samples, exactly.
CREATE OR REPLACE VIEW ${database}.account_series_raw ${on_cluster} AS
${include series samples}
FROM
(
    ${include series_of_samples}
    WHERE metric_name = {metric:String} AND account_id IN {accounts:Array(String)} AND ${include in_both_windows timestamp}
) AS state
${include series_sections}
