greatest(toStartOfInterval(${1}, toIntervalSecond({step_s:UInt32})), window_start) AS point
