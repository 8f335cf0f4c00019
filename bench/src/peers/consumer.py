"""Kafka to ClickHouse as one would write it in Python: consume a batch, parse, insert by column, commit.

consumer.py BOOTSTRAP TOPIC GROUP ROWS URL DATABASE USER; the password is in STORE_PASSWORD.
At least once: the positions are committed after the insert.
"""

import json
import os
import sys
from urllib.parse import urlsplit

import clickhouse_connect
from confluent_kafka import Consumer

BATCH_ROWS = 100_000
COLUMNS = [
    "metric_name", "metric_type", "value", "timestamp", "account_id", "conversation_id", "user_id", "metadata",
    "log_partition", "log_offset", "log_row",
]  # fmt: skip

bootstrap, topic, group, rows, url, database, user = sys.argv[1:]
store = urlsplit(url)
client = clickhouse_connect.get_client(
    host=store.hostname, port=store.port, username=user, password=os.environ["STORE_PASSWORD"], database=database,
    compress=False,
)  # fmt: skip
consumer = Consumer(
    {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    }
)
print("subscribing", flush=True)
consumer.subscribe([topic])

inserted, expected = 0, int(rows)
while inserted < expected:
    messages = consumer.consume(min(BATCH_ROWS, expected - inserted), timeout=1.0)
    columns = [[] for _ in COLUMNS]
    names, types, values, times, accounts, conversations, users, metadata, partitions, offsets, log_rows = columns
    for message in messages:
        if message.error():
            sys.exit(str(message.error()))
        row = json.loads(message.value())
        names.append(row["metric_name"])
        types.append("gauge")
        values.append(row["value"])
        times.append(row["timestamp"])
        accounts.append(row["account_id"])
        conversations.append(row["conversation_id"])
        users.append("")
        metadata.append("")
        partitions.append(message.partition())
        offsets.append(message.offset())
        log_rows.append(0)
    if not names:
        continue
    client.insert("system_metrics", columns, column_names=COLUMNS, column_oriented=True)
    consumer.commit(asynchronous=False)
    inserted += len(names)
    print(inserted, flush=True)
print("done", flush=True)
consumer.close()
