-- How far system_metrics reaches, by the part of it a writer fills in order: a shard, a day of it (place) and a partition of the log.
-- Parameters and columns: fragments/tail_heads.sql.
CREATE OR REPLACE VIEW ${database}.tail_heads_metrics ${on_cluster} AS
${include tail_heads system_metrics timestamp}
