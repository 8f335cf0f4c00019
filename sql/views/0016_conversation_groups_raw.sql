-- The conversations of one metric over a window, ranked, from its samples; accounts is empty for any. Parameters and rows: fragments/groups.sql.
CREATE OR REPLACE VIEW ${database}.conversation_groups_raw ${on_cluster} AS
${include groups samples}
        SELECT
            conversation_id AS group_id,
            ${include groups_of_samples}
        WHERE metric_name = {metric:String} AND ${include of_accounts}
          AND ${include in_both_windows timestamp}
${include groups_in_order}
