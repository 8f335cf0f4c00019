-- The marks of everything up to an event that a user has made and not undone. Left out are those that say nothing beside a later one of
-- the same scope: one that reaches further, or names the same event, and found as much there. Only what is later by ten seconds surely did: several instances make
-- marks, by clocks and replicas of their own.
CREATE OR REPLACE VIEW ${database}.read_watermarks ${on_cluster} AS
SELECT
    created_at,
    toString(event_id) AS id,
    toString(account_id) AS account_id,
    scope,
    arrived
FROM
(
    SELECT
        *,
        max((created_at, event_id)) OVER (PARTITION BY scope ORDER BY toUnixTimestamp64Milli(marked_at) DESC RANGE BETWEEN UNBOUNDED PRECEDING AND 10000 PRECEDING) AS later,
        count() OVER (PARTITION BY scope, created_at, event_id, account_id ORDER BY toUnixTimestamp64Milli(marked_at) DESC RANGE BETWEEN UNBOUNDED PRECEDING AND 10000 PRECEDING) AS repeated
    FROM ${database}.activity_reads
    WHERE issuer = {issuer:String} AND subject = {subject:String} AND kind = 'up_to' AND mark NOT IN (${include undone_marks})
)
WHERE (created_at, event_id) >= later AND repeated = 0
ORDER BY created_at DESC, event_id DESC
LIMIT {max_rows:UInt32}
