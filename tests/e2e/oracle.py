"""Exact percentiles of a replayed series, by another engine than the one under test.

oracle.py FILE SHIFT_MS FROM_MS TO_MS: of the file's rows whose shifted time lies in [FROM, TO),
the number and the values at rank ceil(q n) for q = 0.5, 0.95, 0.99, as one JSON object.
"""

import sys

import chdb

path, shift, start, end = sys.argv[1], *(int(word) for word in sys.argv[2:5])
print(
    chdb.query(
        f"""
        WITH arraySort(groupArray(value)) AS sorted, length(sorted) AS n
        SELECT n, arrayMap(q -> sorted[toUInt64(ceil(q * n))], [0.5, 0.95, 0.99]) AS percentiles
        FROM file('{path}', 'CSVWithNames', 'timestamp DateTime(\\'UTC\\'), value Float64')
        WHERE toUnixTimestamp(timestamp) * 1000 + {shift} >= {start}
          AND toUnixTimestamp(timestamp) * 1000 + {shift} < {end}
        """,
        "JSONEachRow",
    )
)
