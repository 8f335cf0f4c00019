"""Asks every route of the OpenAPI document whatever the document allows, and much that it does not (schemathesis).

contract.py URL TOKEN [an option of `schemathesis run` …]

All of its checks are on. Below stands what a schema cannot say, each with its reason: what is refused for such a reason is no fault
of the document. Everything else that is refused although the document allows it, accepted although it does not, or answered as
the document does not say, fails.
"""

import json
import sys

import pyarrow as pa
import schemathesis
from hypothesis import strategies as st
from schemathesis.cli import schemathesis as command

# By status and code: refusals of what is well-formed by itself.
NO_SCHEMA_SAYS = {
    # Only the server writes cursors, and each is for the filters it came with.
    (400, "invalid_cursor"),
    # How many days, groups or points one question may have depends on several parameters.
    (400, "range_too_long"),
    (400, "query_too_large"),
    # What the fields of an alert rule mean together; kelly rules schema says what each may be.
    (422, "rule_refused"),
    # Nothing here opens a WebSocket.
    (426, "not_a_websocket"),
    # What was decided before, when a silence ends, which rule another one needs: the control log knows, and no schema.
    (404, "not_found"),
    (409, "already_decided"),
    (422, "decision_refused"),
    (422, "command_id_reused"),
    (422, "rule_refused"),
}

# Parameters of which each is right by itself.
OF_SEVERAL_PARAMETERS = (
    "contradicts `from` and `to`",
    "is missing; `to` needs it",
    "needs `group_by=account`",
    "leaves one group",
    "exports one series",
    "is not before `to`",
    # A window is widened to whole units, which must not reach before the first.
    "lies before 1970-01-03",
    # Which steps and percentiles there are depends on the range and on what is kept of it.
    "and this range is kept by",
    "is chosen by the range where",
    "and groups have no percentiles",
    # Which rules may be named depends on which are sent along.
    "which is none of `rules`",
    "rules to try; try between",
)

# Rows of the right form: times are bounded by the clock and by what is kept, names by other names.
OF_ROWS = {"too_old", "too_far_in_future", "duplicate_field", "metadata_too_large", "conversation_content", "misnamed_time"}


def is_beyond_schemas(response):
    problem = json.loads(response.content)
    key = (response.status_code, problem["code"])
    if key in NO_SCHEMA_SAYS:
        return True
    faults = problem.get("errors", [])
    if key == (400, "invalid_parameter"):
        return bool(faults) and all(
            any(words in fault["reason"] for words in OF_SEVERAL_PARAMETERS) for fault in faults
        )
    if key == (422, "rows_refused"):
        return bool(faults) and all(fault["code"] in OF_ROWS for fault in faults)
    return False


@schemathesis.hook
def filter_failure(context, failure, case, response):
    is_refusal = type(failure).__name__ == "RejectedPositiveData"
    return not (is_refusal and is_beyond_schemas(response))


@schemathesis.serializer("application/x-ndjson")
def lines(ctx, value):
    rows = value if isinstance(value, list) else [value]
    if not rows:
        # What has no lines may come as the array that the document describes lines by.
        return b"[]"
    return "\n".join(json.dumps(row) for row in rows).encode()


def arrow(rows):
    table = pa.table({"metric_name": pa.array([name for name, _ in rows], pa.utf8()), "value": [value for _, value in rows]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


names = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
values = st.floats(min_value=-1e6, max_value=1e6)
schemathesis.openapi.media_type(
    "application/vnd.apache.arrow.stream", st.lists(st.tuples(names, values), min_size=1, max_size=5).map(arrow)
)

if __name__ == "__main__":
    url, token, *options = sys.argv[1:]
    command(
        [
            "run",
            f"{url}/api/openapi.json",
            "--header",
            f"Authorization: Bearer {token}",
            "--checks",
            "all",
            "--continue-on-failure",
            *options,
        ]
    )
