-- How often the users subjects[i] of issuers[i] have marked anything, undone marks and undoing included, among what is kept, and
-- the oldest of these marks. Users who have not have no row.
CREATE OR REPLACE VIEW ${database}.reading_versions ${on_cluster} AS
SELECT
    toString(reads.issuer) AS issuer,
    reads.subject AS subject,
    count() AS changes,
    countIf(kind = 'event') AS events,
    toString(argMin(mark, (marked_at, mark))) AS first
FROM ${database}.activity_reads AS reads
WHERE (reads.issuer, reads.subject) IN
(
    SELECT tupleElement(user, 1), tupleElement(user, 2)
    FROM (SELECT arrayJoin(arrayZip({issuers:Array(String)}, {subjects:Array(String)})) AS user)
)
GROUP BY reads.issuer, reads.subject
