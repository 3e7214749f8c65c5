"""What an author's own object says of a frame, asked as its author would ask it.

A saved model is compared with this, so that a serving path that differs is noticed where the model is saved, where it
is registered, and wherever it is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import pyarrow as pa

from tidemill.errors import text_of
from tidemill.models.outputs import ModelError, OutputType, as_outputs, classes_of, in_declared_order
from tidemill.models.own import booster_of, check_classes, in_own_order, names_of, xgboost_rounds

Author = Callable[[pd.DataFrame], pa.Table]
"""Says the named, typed outputs of a frame's rows."""


def author_of(flavor: str, model: Any, outputs: Mapping[str, OutputType]) -> Author:
    """The author's object as one function over frames; the columns are put in the model's own order first."""
    check_classes(model)
    names = names_of(flavor, model)
    ask = _ASKED[flavor](model, outputs)

    def say(frame: pd.DataFrame) -> pa.Table:
        columns = in_own_order(names, [str(name) for name in frame.columns])
        return as_outputs(ask(frame[columns]), outputs, len(frame))

    return say


def sklearn(model: Any, outputs: Mapping[str, OutputType]) -> Callable[[pd.DataFrame], Any]:
    """A scikit-learn model: probabilities where those are declared, else predictions, else what it transforms to."""
    if hasattr(model, "predict_proba") and all(_probable(output) for output in outputs.values()):
        known = getattr(model, "classes_", None)

        def ask(frame: pd.DataFrame) -> Any:
            array = model.predict_proba(frame)
            return array if known is None else in_declared_order(array, known, outputs)

        return ask
    # What has no answers of its own, such as a PCA, is asked for its vectors.
    return getattr(model, "predict", None) or model.transform  # type: ignore[no-any-return]


def _lightgbm(model: Any, outputs: Mapping[str, OutputType]) -> Callable[[pd.DataFrame], Any]:
    if hasattr(model, "booster_"):
        return sklearn(model, outputs)
    return model.predict  # type: ignore[no-any-return]


def _xgboost(model: Any, outputs: Mapping[str, OutputType]) -> Callable[[pd.DataFrame], Any]:
    if hasattr(model, "get_booster"):
        return sklearn(model, outputs)
    import xgboost

    booster, rounds = booster_of(model), xgboost_rounds(model)

    def ask(frame: pd.DataFrame) -> Any:
        rows = xgboost.DMatrix(frame, enable_categorical=True)
        return booster.predict(rows, iteration_range=rounds)

    return ask


def _python(model: Any, _: Mapping[str, OutputType]) -> Callable[[pd.DataFrame], Any]:
    return model.predict  # type: ignore[no-any-return]


def _probable(output: OutputType) -> bool:
    return output == "float" or classes_of(output) is not None


def asked(author: Author, frame: pd.DataFrame) -> pa.Table:
    """What the author's object says of its author's frame; an object that can't is told."""
    try:
        return author(frame)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"the model fails on the rows that it is saved with: {type(error).__name__}: {text_of(error)}; give "
            "`save` the frame that it was trained on"
        ) from error


_ASKED: dict[str, Callable[[Any, Mapping[str, OutputType]], Callable[[pd.DataFrame], Any]]] = {
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
    "sklearn": sklearn,
    "python": _python,
}
