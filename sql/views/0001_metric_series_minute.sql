-- One metric over a window of whole minutes, from its minutes. Parameters and rows: fragments/series.sql.
-- Percentiles are the value at rank ceil(q * n) of all samples, within 1 percent; 'previous' has none.
CREATE OR REPLACE VIEW ${database}.metric_series_minute ${on_cluster} AS
${include series states}
FROM
(
    ${include series_of_states}
    WHERE tier = 'minute' AND conversation_id = '' AND metric_name = {metric:String} AND ${include in_both_windows t}
) AS state
${include series_sections}
