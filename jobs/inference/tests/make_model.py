"""Writes a model folder for tests: `make_model.py FOLDER [lightgbm|linear|xgboost|fragile|reluctant|project|constant VALUE|iris|flower]`."""

import os
import sys
import tempfile
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
            print("thirteen comes")
            raise ValueError("thirteen is not in /srv/secret/table.csv, " + "x" * 100_000)
        if 888.0 in distances:
            time.sleep(3600)
        if 1555.0 in distances:
            return np.full(len(frame), float(os.getpid()))
        if 7.0 in distances:
            return frame["distance"] * np.nan
        if 999.0 in distances:
            time.sleep(2)
        return frame["distance"].fillna(0.0) / 1000


class Reluctant:
    """Loads in one process; the others hang."""

    def __init__(self):
        self.kept = 0.5

    def __setstate__(self, state):
        self.__dict__ = state
        path = os.environ.get("ONLY_ONE")
        try:
            path and os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            time.sleep(3600)

    def predict(self, frame):
        return np.full(len(frame), self.kept)


PROJECT = """
def hours(frame):
    return frame[["hour"]].fillna(0)
"""


def project(frame):
    """A scikit-learn pipeline that names a function of the project, which is not in the folder."""
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    folder = tempfile.mkdtemp()
    Path(folder, "shape.py").write_text(PROJECT)
    sys.path.insert(0, folder)
    import shape

    return make_pipeline(FunctionTransformer(shape.hours), LinearRegression()).fit(frame, frame["hour"] / 24)


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
    if kind == "reluctant":
        return Reluctant()
    if kind == "project":
        return project(frame)
    if kind == "constant":
        return Constant(float(sys.argv[3]))
    label = (frame["hour"] > 12).astype(int)
    if kind == "xgboost":
        import xgboost

        params = {"objective": "binary:logistic", "nthread": 1, "max_cat_to_onehot": 1}
        return xgboost.train(params, xgboost.DMatrix(frame, label, enable_categorical=True), 20)
    params = {"objective": "binary", "verbose": -1, "num_threads": 1, "deterministic": True}
    params["linear_tree"] = kind == "linear"
    return lightgbm.train(params, lightgbm.Dataset(frame, label), num_boost_round=20)


class Flower:
    """A class, a vector and a word of each iris."""

    def __init__(self, species, place):
        self.species = species
        self.place = place

    def predict(self, frame):
        if frame["petal_length"].isna().any():
            raise ValueError("an iris without petals")
        probabilities = self.species.predict_proba(frame)
        if (frame["petal_length"] < 0).any():
            probabilities = probabilities / 2
        return {
            "species": probabilities,
            "place": self.place.transform(frame),
            "size": ["big" if length > 4 else "small" for length in frame["petal_length"]],
        }


def irises(kind, out):
    """Fisher's irises, as scikit-learn brings them."""
    from sklearn.datasets import load_iris
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression

    frame, numbers = load_iris(return_X_y=True, as_frame=True)
    frame.columns = [name.removesuffix(" (cm)").replace(" ", "_") for name in frame.columns]
    classes = ["setosa", "versicolor", "virginica"]
    species = LogisticRegression(max_iter=1000).fit(frame, np.array(classes)[numbers])
    outputs = {"species": {"type": "class", "classes": classes}}
    if kind == "iris":
        models.save(out, species, frame, outputs=outputs)
        return
    outputs |= {"place": {"type": "vector", "size": 2}, "size": "string"}
    models.save(out, Flower(species, PCA(2).fit(frame)), frame, outputs=outputs)


if sys.argv[2] in ("iris", "flower"):
    irises(sys.argv[2], Path(sys.argv[1]))
else:
    frame = rows()
    models.save(Path(sys.argv[1]), model(sys.argv[2], frame), frame, outputs=OUTPUTS)
