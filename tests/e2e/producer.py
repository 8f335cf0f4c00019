"""A producer of another make: writes metrics and events to Kafka with confluent-kafka.

producer.py BOOTSTRAP COUNT: COUNT single metrics, as many again in arrays of ten, and one event.
"""

import json
import sys

from confluent_kafka import Producer

bootstrap, count = sys.argv[1], int(sys.argv[2])
refused = []
producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "compression.type": "zstd"})


def delivered(error, _message):
    if error is not None:
        refused.append(str(error))


for number in range(count):
    row = {"metric_name": "from_python", "value": number, "account_id": "other-make", "region": "north"}
    producer.produce("kelly.metrics", json.dumps(row), key=f"conversation-{number % 7}", on_delivery=delivered)
    producer.poll(0)
for start in range(count, 2 * count, 10):
    rows = [{"metric_name": "from_python", "value": number} for number in range(start, start + 10)]
    producer.produce(
        "kelly.metrics", json.dumps(rows), headers={"content-type": "application/json"}, on_delivery=delivered
    )
    producer.poll(0)
event = {"event_type": "user_interaction", "title": "Greetings from Python", "account_id": "other-make"}
producer.produce("kelly.activity", json.dumps(event), on_delivery=delivered)
producer.flush(60)
if refused:
    sys.exit(f"not delivered: {refused[:3]}")
