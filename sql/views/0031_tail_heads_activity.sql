-- How far activity_events reaches, by the part of it a writer fills in order: a shard, a week of it (place) and a partition of the log.
-- Parameters and columns: fragments/tail_heads.sql.
CREATE OR REPLACE VIEW ${database}.tail_heads_activity ${on_cluster} AS
${include tail_heads activity_events created_at}
