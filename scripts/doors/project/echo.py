"""A model that says what it is given: as text of its own, and as an output of each type."""

import datetime as dt
import json
import math
import struct

import pandas as pd
import tidemill.models

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
TYPES = {
    "f": "float",
    "i": "int",
    "s": "string",
    "t": "timestamp",
    "d": "date",
    "b": "bool",
}
NOTHING = {
    "f": 0.0,
    "i": 0,
    "s": "",
    "t": EPOCH,
    "d": EPOCH.date(),
    "b": False,
}


class Echo:
    """Outputs are never null, as those of a model of numbers would not be; `saw` tells nulls apart."""

    def __init__(self, prefix):
        self.prefix = prefix
        """What the columns begin with that are given back."""

    def predict(self, frame):
        """All outputs of all rows."""
        columns = {
            name: [plain(value) for value in frame[name].tolist()]
            for name in frame.columns
        }
        saw = [
            json.dumps(dict(zip(columns, map(told, row), strict=True)))
            for row in zip(*columns.values(), strict=True)
        ]
        outputs = {"saw": saw}
        for name, nothing in NOTHING.items():
            values = columns[self.prefix + name]
            values = [nothing if value is None else value for value in values]
            outputs[f"out_{name}"] = values
        return outputs


def plain(value):
    """A value of pandas in Python's own type."""
    if (
        value is None
        or value is pd.NA
        or value is pd.NaT
        or (isinstance(value, float) and math.isnan(value))
    ):
        return None
    return value.to_pydatetime(warn=False) if isinstance(value, pd.Timestamp) else value


def told(value):
    """Exact, and no number of JSON."""
    if isinstance(value, float):
        return struct.pack(">d", value).hex()
    if isinstance(value, dt.datetime):
        return str((value - EPOCH) // dt.timedelta(microseconds=1))
    return value if value is None or isinstance(value, str | bool) else str(value)


def train(ctx, dataset, out):
    """There is nothing to learn; of the columns a model is asked for, `params` has the beginnings."""
    days = [dt.date(2024, 5, 2), dt.date(2024, 5, 3)]
    values = {
        "id": [1, 2],
        "f": [0.5, 1.5],
        "i": [1, 2],
        "s": ["a", "b"],
        "t": pd.to_datetime(days, utc=True).as_unit("us"),
        "d": days,
        "b": [True, False],
    }
    prefix = ctx.params["prefix"]
    columns = {name: values[name] for name in ctx.params["more"]}
    columns |= {prefix + name: values[name] for name in NOTHING}
    outputs = {f"out_{name}": kind for name, kind in TYPES.items()}
    rows = pd.DataFrame(columns)
    outputs = {"saw": "string", **outputs}
    tidemill.models.save(out, Echo(prefix), rows, outputs=outputs)
