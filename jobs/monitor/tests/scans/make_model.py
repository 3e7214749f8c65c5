"""Writes a model folder: `make_model.py FOLDER OUTPUTS`. Whoever sees many pages buys."""

import json
import sys
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
from tidemill import models

rng = np.random.default_rng(1)
frame = pd.DataFrame({"pages": rng.integers(0, 10, 2000).astype(float)})
label = (frame["pages"] > 5).astype(int) ^ (rng.random(2000) < 0.15)
params = {"objective": "binary", "verbose": -1, "num_threads": 1, "deterministic": True}
booster = lightgbm.train(params, lightgbm.Dataset(frame, label), num_boost_round=20)
models.save(Path(sys.argv[1]), booster, frame, outputs=json.loads(sys.argv[2]))
