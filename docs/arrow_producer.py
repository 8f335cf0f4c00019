"""Metrics to Kafka as Arrow: thousands of rows a message, with pyarrow and confluent-kafka.

arrow_producer.py BOOTSTRAP MESSAGES ROWS
"""

import sys
import time

import pyarrow as pa
from confluent_kafka import Producer

SCHEMA = pa.schema(
    [
        ("metric_name", pa.dictionary(pa.int16(), pa.string())),
        ("value", pa.float64()),
        ("timestamp", pa.timestamp("ms", tz="UTC")),
        ("account_id", pa.dictionary(pa.int32(), pa.string())),
        ("conversation_id", pa.dictionary(pa.int32(), pa.string())),
        ("metadata", pa.string()),
    ]
)


def message(rows):
    """One Arrow IPC stream of one record batch."""
    batch = pa.RecordBatch.from_pylist(rows, schema=SCHEMA)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def main():
    bootstrap, messages, rows = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    refused = []

    def delivered(error, _message):
        if error is not None:
            refused.append(str(error))

    # The log compresses; the stream itself stays plain.
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "compression.type": "lz4"})
    now = int(time.time() * 1000)
    for start in range(0, messages * rows, rows):
        payload = message(
            [
                {
                    "metric_name": "from_pyarrow",
                    "value": float(number),
                    "timestamp": now,
                    "account_id": "acme",
                    "conversation_id": f"conversation-{number % 100}",
                    "metadata": '{"region":"north"}' if number % 10 == 0 else None,
                }
                for number in range(start, start + rows)
            ]
        )
        producer.produce(
            "kelly.metrics",
            payload,
            headers={"content-type": "application/vnd.apache.arrow.stream"},
            on_delivery=delivered,
        )
        producer.poll(0)
    producer.flush(60)
    if refused:
        sys.exit(f"not delivered: {refused[:3]}")


if __name__ == "__main__":
    main()
