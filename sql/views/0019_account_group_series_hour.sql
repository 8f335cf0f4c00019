-- One metric of several accounts over a window of whole hours, each by itself, from their hours and the histograms of their days, whose
-- rows count nothing. Parameters and rows: fragments/group_series.sql.
-- Percentiles are the value at rank ceil(q * n) of all samples, within 1 percent; a point shorter than a day and a window of other than
-- whole days have none.
CREATE OR REPLACE VIEW ${database}.account_group_series_hour ${on_cluster} AS
${include group_series days}
    SELECT
        account_id AS group_id,
        ${include point t},
        count, sum, min, max, last, histogram
    FROM ${table metric_rollups}
    WHERE tier IN ('account_hour', 'account_day') AND conversation_id = '' AND metric_name = {metric:String} AND account_id IN {groups:Array(String)}
      AND ${include in_window t}
${include group_series_sections}
