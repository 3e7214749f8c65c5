"""Calls a running Tidemill from Python: predictions, features, training sets, rows, runs.

Reading order: `answers` (what comes back, and how calls fail), `calls` (what each method sends and reads; no I/O),
`sync` and `asynchronous` (who sends it), `places` (where the servers are).
"""

from tidemill.client.answers import (
    EntityFeatures,
    LogLine,
    Prediction,
    Predictions,
    Pushed,
    Run,
    Step,
    TidemillError,
    TrainingSet,
    View,
)
from tidemill.client.asynchronous import AsyncClient
from tidemill.client.sync import Client

__all__ = [
    "AsyncClient",
    "Client",
    "EntityFeatures",
    "LogLine",
    "Prediction",
    "Predictions",
    "Pushed",
    "Run",
    "Step",
    "TidemillError",
    "TrainingSet",
    "View",
]
