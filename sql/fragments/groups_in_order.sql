    ) AS state
    GROUP BY state.group_id
    HAVING count > 0
) AS ranked
ORDER BY ranked.group_id != '', if({descending:UInt8} = 1, -ranked.order_key, ranked.order_key), ranked.count DESC, ranked.group_id
LIMIT {top:UInt32} + 1
