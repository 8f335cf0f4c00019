-- One metric of some accounts together over a window of whole hours, from their hours and the histograms of their days, whose rows count
-- nothing. Parameters and rows: fragments/series.sql.
-- Percentiles are the value at rank ceil(q * n) of all samples, within 1 percent; 'previous', a point shorter than a day and
-- a window of other than whole days have none.
CREATE OR REPLACE VIEW ${database}.account_series_hour ${on_cluster} AS
${include series days}
FROM
(
    ${include series_of_states}
    WHERE tier IN ('account_hour', 'account_day') AND conversation_id = '' AND metric_name = {metric:String} AND account_id IN {accounts:Array(String)}
      AND (tier = 'account_hour' OR t >= window_start) AND ${include in_both_windows t}
) AS state
${include series_sections}
