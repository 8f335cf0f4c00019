        -- Along the table's own order, so that no more than the page is read. Of the rows of one event and instant the first
        -- on the log stands for all: a producer that repeats an event must not fill a page with it.
        ORDER BY created_at DESC, id DESC, account_id, log_partition, log_offset, log_row
        LIMIT 1 BY created_at, id, account_id
        LIMIT {max_rows:UInt32}
