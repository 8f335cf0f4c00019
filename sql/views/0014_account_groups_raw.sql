-- The accounts of one metric over a window, ranked, from its samples; accounts is empty for all of them. Parameters and rows: fragments/groups.sql.
CREATE OR REPLACE VIEW ${database}.account_groups_raw ${on_cluster} AS
${include groups samples}
        SELECT
            account_id AS group_id,
            ${include groups_of_samples}
        WHERE metric_name = {metric:String} AND ${include of_accounts} AND ${include in_both_windows timestamp}
${include groups_in_order}
