"""Model folders: written by training code, read by the worker.

A folder has the MLflow layout (`MLmodel` beside the model's own file), `tidemill.json` with the signature, and
`golden.arrow`: rows with what this model predicted for them here, so that every process that loads it can
prove that it predicts the same.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tidemill.models.folder import Column, Signature, save, typed
from tidemill.models.outputs import ModelError

__all__ = ["Column", "ModelError", "Signature", "save"]


class _Served:
    """A folder as MLflow asks it: frames in, frames out."""

    def __init__(self, folder: Path) -> None:
        from tidemill.models import predictors

        self._signature = Signature.read(folder)
        self._model = predictors.load(folder)

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The named outputs."""
        return self._model.predict(typed(frame, self._signature)).to_pandas()


def _load_pyfunc(path: str) -> _Served:
    """What MLflow calls to load a folder whose flavor has no loader of its own."""
    return _Served(Path(path))
