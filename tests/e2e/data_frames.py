"""What data frames make of a CSV, by their own guess of its columns' types.

data_frames.py FILE COLUMN…: one JSON object, for each reader an object of the columns named, each with its type and its
values (null where there is none), written so that they read back as the same floats.
"""

import json
import math
import sys

import pandas
import pyarrow.csv

path, columns = sys.argv[1], sys.argv[2:]


def text(value):
    return None if value is None or math.isnan(value) else repr(float(value))


def described(kind, values):
    # A column of texts is not to pass for one of numbers because its texts can be read.
    is_number = str(kind).startswith(("float", "double"))
    return {"type": str(kind), "values": [text(value) for value in values] if is_number else []}


frame = pandas.read_csv(path)
table = pyarrow.csv.read_csv(path)
print(
    json.dumps(
        {
            "pandas": {c: described(frame[c].dtype, frame[c].tolist()) for c in columns},
            "pyarrow": {c: described(table[c].type, table[c].to_pylist()) for c in columns},
        }
    )
)
