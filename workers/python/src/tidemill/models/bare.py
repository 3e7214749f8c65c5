"""Completes what a step left in `out`: a bare model file, or a folder that MLflow wrote.

There is no object in memory to ask. The file is opened by its own library and asked about the training set as an
author would; which column is which must be proven by the names that the file has.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from tidemill import types
from tidemill.models.authors import Author, author_of
from tidemill.models.folder import MLFLOW_FILES, SIGNATURE, Column, Signature, complete
from tidemill.models.outputs import ModelError
from tidemill.models.own import categorical, categories_of, check_proven, in_own_order, names_of
from tidemill.models.predictors import check_numbers, onnx_names, opened
from tidemill.models.proof import spread
from tidemill.step import Dataset

_BARE = {"model.txt": "lightgbm", "model.json": "xgboost", "model.ubj": "xgboost", "model.onnx": "onnx"}
_PROVEN_ROWS = 2_000


def wrap(out: Path, dataset: Dataset) -> None:
    """Completes what a step left, and proves it on the dataset. Does nothing for other things."""
    if (out / SIGNATURE).exists():
        return
    told = _mlflow(out) if (out / "MLmodel").is_file() else {}
    found = _mlflow_model(told) if told else bare_model(out)
    if found is None:
        return
    flavor, file = found
    declared = list(dataset.inputs)
    text = [name for name, ty in dataset.inputs.items() if ty == "string"]
    names, model = _names(flavor, out / file)
    categories = categories_of(flavor, model, in_own_order(names, declared), text)
    outputs = dataset.outputs or {"prediction": "float"}
    columns = [Column(name, ty, categories.get(name)) for name, ty in dataset.inputs.items()]
    signature = Signature(flavor, file, columns, outputs)
    if flavor != "sklearn":
        check_numbers(signature)
    check_proven(names or _signed(told, declared), declared, file)
    table = dataset.to_arrow(columns=dataset.features)
    frame = types.to_pandas(table.take(pa.array(spread(len(table), _PROVEN_ROWS), pa.int64())))
    author: Author | None = None if flavor == "onnx" else author_of(flavor, model, outputs)
    complete(out, signature, author, categorical(frame, categories))


def bare_model(out: Path) -> tuple[str, str] | None:
    """Flavor and name of the one model file that a step left."""
    return next(((flavor, name) for name, flavor in _BARE.items() if (out / name).is_file()), None)


def _names(flavor: str, file: Path) -> tuple[list[str] | None, Any]:
    if flavor != "onnx":
        model = opened(flavor, file)
        return names_of(flavor, model), model
    import onnxruntime

    return onnx_names(onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"]).get_inputs()), None


def _mlflow(out: Path) -> dict[str, Any]:
    import yaml  # MLflow brings it

    return dict(yaml.safe_load((out / "MLmodel").read_text()))


def _mlflow_model(told: dict[str, Any]) -> tuple[str, str]:
    flavors = told.get("flavors") or {}
    for flavor, key in MLFLOW_FILES.items():
        if flavor in flavors:
            return flavor, str(flavors[flavor].get(key) or flavors["python_function"][key])
    raise ModelError(f"MLmodel has the flavors {', '.join(flavors)}; supported are {', '.join(MLFLOW_FILES)}")


def _signed(told: dict[str, Any], declared: list[str]) -> list[str] | None:
    """The names in MLflow's own signature, which proves the order if it is the declared one."""
    inputs = json.loads((told.get("signature") or {}).get("inputs") or "[]")
    names = [column.get("name") for column in inputs]
    return declared if names == declared else None
