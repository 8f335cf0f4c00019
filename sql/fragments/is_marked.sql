(id, account_id) GLOBAL IN
        (
            SELECT event_id, account_id
            FROM ${database}.activity_reads
            WHERE issuer = {issuer:String} AND subject = {subject:String} AND kind = 'event' AND mark GLOBAL NOT IN (${include undone_marks})
        )
