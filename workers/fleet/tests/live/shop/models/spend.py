"""A model that says what the customer spent last, times a factor of its own."""

import pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from tidemill import models

from models.shape import filled


def train(ctx, dataset, out):
    name = ctx.params["column"]
    frame = pd.DataFrame({name: [float(amount) for amount in range(100)]})
    steps = make_pipeline(FunctionTransformer(filled), LinearRegression())
    models.save(out, steps.fit(frame, frame[name] * ctx.params["factor"]), frame, outputs={"spends": "float"})
