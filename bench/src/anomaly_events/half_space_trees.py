"""Scores series with river's HalfSpaceTrees, a value at a time: `half_space_trees.py FILE …` prints a JSON array of scores a line.

HalfSpaceTrees wants features between 0 and 1. Its own recipe for a stream is a scaler in front of it that learns the range as it
goes; a value is scored with what was learned from those before it.
"""

import json
import sys

from river import anomaly, preprocessing


def scores(values):
    scaler = preprocessing.MinMaxScaler()
    trees = anomaly.HalfSpaceTrees(n_trees=10, height=8, window_size=250, seed=42)
    found = []
    for value in values:
        scaler.learn_one({"value": value})
        row = scaler.transform_one({"value": value})
        found.append(trees.score_one(row))
        trees.learn_one(row)
    return found


for line in sys.stdin:
    print(json.dumps(scores(json.loads(line))), flush=True)
