"""What a model says of itself: its columns in its own order, and the categories that it learnt.

A vector is put together by names. A model that knows the names of its columns is asked in its own order, whatever
the order they were declared in; where the order can't be proven, the model is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from tidemill.models.outputs import ModelError

FRAME = "save it with tidemill.models.save(out, model, frame), which asks the model about the frame it was trained on"
"""The remedy wherever a file alone leaves a doubt."""


def names_of(flavor: str, model: Any) -> list[str] | None:
    """The names of a model's columns in its order; none where it was trained on an array without any."""
    if flavor == "lightgbm":
        names = getattr(model, "booster_", model).feature_name()
        return None if names == [f"Column_{place}" for place in range(len(names))] else list(names)
    if flavor == "xgboost":
        names = booster_of(model).feature_names
        return None if names is None else list(names)
    if flavor == "sklearn":
        names = getattr(model, "feature_names_in_", None)
        return None if names is None else [str(name) for name in names]
    return None


def in_own_order(names: Sequence[str] | None, columns: Sequence[str]) -> list[str]:
    """The columns in the model's own order; as they are where it knows no names."""
    if names is None:
        return list(columns)
    known = {_written(column): column for column in columns}
    if sorted(known) == sorted(_written(name) for name in names) and len(known) == len(columns):
        return [known[_written(name)] for name in names]
    lacking = [name for name in names if _written(name) not in known]
    more = [column for column in columns if _written(column) not in {_written(name) for name in names}]
    parts = [f"missing: {', '.join(lacking)}" if lacking else "", f"too many: {', '.join(more)}" if more else ""]
    told = "; ".join(part for part in parts if part)
    raise ModelError(
        f"the model was trained on {', '.join(names)}, but is given {', '.join(columns)} ({told}); "
        "train on the declared columns by their names, and give no others"
    )


def check_proven(names: Sequence[str] | None, columns: Sequence[str], file: str) -> None:
    """Refuses a file that doesn't say which column is which."""
    if names is None and len(columns) > 1:
        raise ModelError(
            f"{file} has no names for its {len(columns)} columns, so their order can't be proven; train on a "
            f"frame instead of an array, or {FRAME}"
        )


def categories_of(flavor: str, model: Any, columns: Sequence[str], text: Sequence[str]) -> dict[str, list[str]]:
    """The categories that a booster learnt, by column. `columns` are in its own order, `text` are those with words."""
    if flavor == "xgboost":
        return _xgboost_categories(booster_of(model))
    if flavor != "lightgbm":
        return {}
    # LightGBM keeps them by place: those of the columns that were pandas' categories.
    told = getattr(model, "booster_", model).pandas_categorical or []
    words = [column for column in columns if column in text]
    if len(told) != len(words) or not all(_text(values) for values in told):
        return {}
    return {column: list(values) for column, values in zip(words, told, strict=True)}


def booster_of(model: Any) -> Any:
    """XGBoost's own object of a model in scikit-learn's form."""
    return model.get_booster() if hasattr(model, "get_booster") else model


def xgboost_rounds(booster: Any) -> tuple[int, int]:
    """Which of a booster's rounds answer, as XGBoost's `iteration_range`; `(0, 0)` is all of them.

    Models in scikit-learn's form answer with their best iteration, and their files say that they are such. A plain
    booster answers with all its rounds, though it notes the best: which of the two is meant can't be told.
    """
    told = booster.attributes()
    if told.get("best_iteration") is None:
        return (0, 0)
    best, rounds = int(told["best_iteration"]) + 1, booster.num_boosted_rounds()
    if best >= rounds:
        return (0, 0)
    if "scikit_learn" in told:
        return (0, best)
    raise ModelError(
        f"the booster stopped early; it is not declared whether to predict with the best {best} of its {rounds} rounds "
        f"or all: keep `booster[: booster.best_iteration + 1]` for the best, or call "
        f"`booster.set_attr(best_iteration=None)` for all"
    )


def check_classes(model: Any) -> None:
    """Refuses a classifier that has seen one class: it can't tell anything from anything."""
    known = getattr(model, "classes_", None)
    if known is not None and not isinstance(known, list) and len(known) == 1:
        raise ModelError(f"the model learnt one class only, {known[0]}: train on rows of at least two")


def _xgboost_categories(booster: Any) -> dict[str, list[str]]:
    import xgboost

    if not hasattr(booster, "get_categories"):  # before 3.1 a file didn't keep them
        return {}
    try:
        told = booster.get_categories(export_to_arrow=True).to_arrow()
    except xgboost.core.XGBoostError:  # a linear booster has none
        return {}
    kept = {name: _whole(name, values) for name, values in told if values is not None}
    return {name: values for name, values in kept.items() if _text(values)}


def _whole(name: str, values: Any) -> list[Any]:
    """One column's categories.

    XGBoost keeps as many bytes of them as they have characters: of text that is not ASCII the ends are lost, and no
    value would be found again.
    """
    try:
        words: list[Any] = values.to_pylist()
    except UnicodeDecodeError:
        words = ["\ufffd"]
    if all(not isinstance(word, str) or word.isascii() for word in words):
        return words
    raise ModelError(
        f"XGBoost has cut the categories of `{name}`, for some of them are not ASCII: replace them by ASCII text or by "
        "ints before training, in the feature itself, so that serving gets the same"
    )


def _text(values: Sequence[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _written(name: str) -> str:
    """As LightGBM writes a name to its file."""
    return name.replace(" ", "_")


def categorical(frame: pd.DataFrame, categories: dict[str, list[str]]) -> pd.DataFrame:
    """The frame with some columns as categories in a model's own order."""
    typed = {
        name: pd.Categorical(frame[name].astype("object").where(frame[name].isin(values)), categories=values)
        for name, values in categories.items()
    }
    return frame.assign(**typed)
