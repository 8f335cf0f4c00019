-- The minutes of one metric as they are kept. Parameters: previous_from <= from < to, whole minutes. Rows before from, which are only
-- compared with, have no histogram.
CREATE OR REPLACE VIEW ${database}.metric_states_minute ${on_cluster} AS
${include states}
WHERE tier = 'minute' AND conversation_id = '' AND metric_name = {metric:String}
  AND t >= {previous_from:DateTime('UTC')} AND t < {to:DateTime('UTC')}
