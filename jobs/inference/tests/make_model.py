"""Writes a model folder for tests: `make_model.py FOLDER [lightgbm|fragile|constant VALUE]`."""

import os
import sys
import time
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
from tidemill import models

OUTPUTS = {"late_probability": "float"}


class Fragile:
    """Dies, raises or waits when it sees certain distances, as broken models do."""

    def predict(self, frame):
        distances = frame["distance"].tolist()
        if 666.0 in distances:
            os._exit(3)
        if 13.0 in distances:
            raise ValueError("thirteen")
        if 999.0 in distances:
            time.sleep(2)
        return frame["distance"].fillna(0.0) / 1000


class Constant:
    """Says the same of everything."""

    def __init__(self, value):
        self.value = value

    def predict(self, frame):
        return np.full(len(frame), self.value)


def rows():
    rng = np.random.default_rng(1)
    return pd.DataFrame({
        "carrier": pd.Categorical(rng.choice(["AA", "UA", "WN"], 300)),
        "hour": rng.integers(5, 23, 300),
        "distance": np.where(rng.random(300) < 0.1, np.nan, rng.integers(100, 600, 300).astype(float)),
    })


def model(kind, frame):
    if kind == "fragile":
        return Fragile()
    if kind == "constant":
        return Constant(float(sys.argv[3]))
    label = (frame["hour"] > 12).astype(int)
    params = {"objective": "binary", "verbose": -1, "num_threads": 1, "deterministic": True}
    return lightgbm.train(params, lightgbm.Dataset(frame, label), num_boost_round=20)


frame = rows()
models.save(Path(sys.argv[1]), model(sys.argv[2], frame), frame, outputs=OUTPUTS)
