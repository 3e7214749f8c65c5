"""Completes what a step left in `out`: a bare model file, or a folder that MLflow wrote.

There is no object in memory to ask. The file is opened by its own library and asked about the training set as an
author would; which column is which must be proven by the names that the file has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from tidemill import types
from tidemill.models.authors import Author, author_of
from tidemill.models.folder import MLFLOW_FILES, SIGNATURE, Column, Signature, complete
from tidemill.models.outputs import ModelError, OutputType
from tidemill.models.own import categorical, categories_of, check_proven, in_own_order, names_of
from tidemill.models.predictors import check_learnt, check_numbers, check_order, onnx_names, opened, write
from tidemill.models.proof import spread
from tidemill.step import Dataset

_BARE = {"model.txt": "lightgbm", "model.json": "xgboost", "model.ubj": "xgboost", "model.onnx": "onnx"}
_PROVEN_ROWS = 2_000


def wrap(out: Path, dataset: Dataset, runtime: str | None = None) -> None:
    """Completes what a step left, and proves it on the dataset. Does nothing for other things.

    `runtime`: the flavor that the model declares, where it is known: of a folder that MLflow can ask in several ways,
    the one to take.
    """
    if (out / SIGNATURE).exists():
        return
    told = _mlflow(out) if (out / "MLmodel").is_file() else {}
    outputs = dataset.outputs or {"prediction": "float"}
    found = _mlflow_model(out, told, runtime, outputs) if told else bare_model(out)
    if found is None:
        return
    flavor, file = found
    declared = _in_signed_order(told, list(dataset.inputs))
    inputs = {name: dataset.inputs[name] for name in declared}
    text = [name for name, ty in inputs.items() if ty == "string"]
    names, model = _names(flavor, out / file)
    if file == "MLmodel":
        _check_asked(model, outputs)
    categories = categories_of(flavor, model, in_own_order(names, declared), text)
    columns = [Column(name, ty, categories.get(name)) for name, ty in inputs.items()]
    signature = Signature(flavor, file, columns, outputs)
    if flavor not in ("sklearn", "python"):
        check_numbers(signature)
    if told and names is None and len(declared) > 1 and not _signed_names(told):
        raise ModelError(
            "the MLflow folder has no signature, so the order of its columns can't be proven; pass "
            "signature=infer_signature(rows) to save_model"
        )
    check_proven(names or _signed(told, declared), declared, file)
    table = dataset.to_arrow(columns=declared)
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


def _mlflow_model(
    out: Path, told: dict[str, Any], runtime: str | None, outputs: Mapping[str, OutputType]
) -> tuple[str, str]:
    flavors = told.get("flavors") or {}
    if runtime == "python" and "python_function" in flavors:
        return "python", "MLmodel"  # MLflow itself loads it, whatever it is
    for flavor, key in MLFLOW_FILES.items():
        if flavor in flavors:
            file = str(flavors[flavor].get(key) or flavors["python_function"][key])
            if file.endswith(".skops"):  # the format is named of a booster's own file, too
                raise ModelError(
                    f"the folder's {flavor} model is saved as skops, MLflow's default, which is not read; save it with "
                    'serialization_format="cloudpickle"'
                )
            return flavor, _own_file(out, flavor, file, outputs)
    raise ModelError(
        f"MLmodel has the flavors {', '.join(flavors)}; supported are {', '.join(MLFLOW_FILES)}, and with "
        "`runtime: python` every one that MLflow loads as python_function"
    )


def _own_file(out: Path, flavor: str, file: str, outputs: Mapping[str, OutputType]) -> str:
    """The library's own file: MLflow pickles what has scikit-learn's form."""
    if flavor not in ("lightgbm", "xgboost") or not file.endswith(".pkl"):
        return file
    model = opened("sklearn", out / file)
    check_order(flavor, model, outputs)
    return write(flavor, model, out)


def _check_asked(model: Any, outputs: Mapping[str, OutputType]) -> None:
    """MLflow gives probabilities as the model in it does: in the order that it learnt its classes in."""
    try:
        raw = model.get_raw_model()
    except (AttributeError, NotImplementedError):  # an older MLflow, or a flavor that has none
        return
    check_learnt(raw, outputs)


def _in_signed_order(told: dict[str, Any], declared: list[str]) -> list[str]:
    """The columns in the order of MLflow's own signature, if it has just these."""
    names = _signed_names(told)
    return names if sorted(names) == sorted(declared) else declared


def _signed(told: dict[str, Any], declared: list[str]) -> list[str] | None:
    """The names in MLflow's own signature, which proves the order if it is the declared one."""
    return declared if _signed_names(told) == declared else None


def _signed_names(told: dict[str, Any]) -> list[str]:
    inputs = json.loads((told.get("signature") or {}).get("inputs") or "[]")
    return [str(column.get("name")) for column in inputs]
