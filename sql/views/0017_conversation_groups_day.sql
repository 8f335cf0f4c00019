-- The conversations of one metric over a window of whole days (UTC), ranked, from its days, which have no percentiles; accounts is empty
-- for any. Parameters and rows: fragments/groups.sql.
CREATE OR REPLACE VIEW ${database}.conversation_groups_day ${on_cluster} AS
${include groups nothing}
        SELECT
            conversation_id AS group_id,
            ${include groups_of_states}
        WHERE tier = 'conversation_day' AND metric_name = {metric:String} AND ${include of_accounts}
          AND ${include in_both_windows t}
${include groups_in_order}
