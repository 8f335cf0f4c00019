(
    SELECT id, account_id, min(first_seen.first) AS first
    FROM ${table activity_first_seen} AS first_seen
    WHERE id GLOBAL IN (SELECT id FROM ${1})
    GROUP BY id, account_id
) AS seen ON seen.id = ${1}.id AND seen.account_id = ${1}.account_id
