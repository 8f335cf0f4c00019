-- What the marks of each dead letter say. replay_state is 'replayed' once any run put it on the log, 'started' while a run began and did
-- not say how it ended, else empty; open_runs are those that began only; replay_at is the newest mark of any kind.
CREATE OR REPLACE VIEW ${database}.dead_letter_marks ${on_cluster} AS
SELECT
    topic, log_partition, log_offset, log_row, log_time,
    multiIf(countIf(has_replayed) > 0, 'replayed', countIf(is_open) > 0, 'started', '') AS replay_state,
    max(newest) AS replay_at,
    groupArrayIf(run, is_open) AS open_runs
FROM
(
    SELECT
        topic, log_partition, log_offset, log_row, log_time, run,
        countIf(state = 'replayed') > 0 AS has_replayed,
        countIf(state != 'started') = 0 AS is_open,
        max(at) AS newest
    FROM ${database}.dead_letter_replays
    GROUP BY topic, log_partition, log_offset, log_row, log_time, run
)
GROUP BY topic, log_partition, log_offset, log_row, log_time
