-- The accounts of one metric over a window of whole hours, ranked, from its hours; by a percentile only over whole days (UTC), from the
-- histograms of its days, whose rows count nothing; accounts is empty for all of them. Parameters and rows: fragments/groups.sql.
CREATE OR REPLACE VIEW ${database}.account_groups_hour ${on_cluster} AS
${include groups days}
        SELECT
            account_id AS group_id,
            ${include groups_of_states}
        WHERE conversation_id = '' AND metric_name = {metric:String} AND ${include of_accounts}
          AND (tier = 'account_hour' OR (tier = 'account_day' AND {order_by:String} IN ('p50', 'p95', 'p99') AND t >= window_start))
          AND ${include in_both_windows t}
${include groups_in_order}
