-- The hours of one metric of some accounts as they are kept, and the histograms of their days from days_from to days_to, whose rows count
-- nothing. Parameters: previous_from <= from < to, whole hours; days_from <= days_to, whole days, from the window's start on.
CREATE OR REPLACE VIEW ${database}.account_states_hour ${on_cluster} AS
${include states}
WHERE conversation_id = '' AND metric_name = {metric:String} AND account_id IN {accounts:Array(String)}
  AND ((tier = 'account_hour' AND t >= {previous_from:DateTime('UTC')} AND t < {to:DateTime('UTC')})
    OR (tier = 'account_day' AND t >= {days_from:DateTime('UTC')} AND t < {days_to:DateTime('UTC')}))
