"""A model to ask, and a step that takes a moment and says how far it got."""

import time

import lightgbm as lgb
import pandas as pd
from tidemill import models

PIECES = 4


def fit(ctx, dataset, out):
    frame = pd.DataFrame({"last_amount": [float(n) for n in range(200)]})
    rows = lgb.Dataset(frame, label=frame["last_amount"] / 200)
    params = {"objective": "regression", "num_threads": 1, "verbose": -1}
    booster = lgb.train(params, rows, num_boost_round=5)
    models.save(out, booster, frame, outputs={"spends": "float"})


def tick(ctx, dataset, out):
    for piece in range(ctx.last_checkpoint or 0, PIECES):
        time.sleep(0.5)
        ctx.checkpoint(piece + 1)
    return {"pieces": PIECES}
