"""A model folder: the model's own file, its signature, and golden rows that prove it."""

from __future__ import annotations

import importlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from tidemill import types
from tidemill.models.outputs import ModelError, OutputType, checked, mlflow_type
from tidemill.models.proof import GOLDEN
from tidemill.step import Dataset

__all__ = ["GOLDEN", "MLFLOW_FILES", "SIGNATURE", "Column", "Signature", "columns_of", "complete", "save", "typed"]

SIGNATURE = "tidemill.json"

_MLFLOW = {"string": "string", "int": "long", "float": "double", "bool": "boolean", "date": "datetime"}
_MLFLOW["timestamp"] = "datetime"
MLFLOW_FILES = {"lightgbm": "data", "xgboost": "data", "onnx": "data", "sklearn": "pickled_model"}
"""MLflow's word for the model's own file, for each of its flavors that are read and written."""
_VERSIONS = {
    "lightgbm": ("lightgbm", "lgb_version"),
    "xgboost": ("xgboost", "xgb_version"),
    "onnx": ("onnxruntime", "onnxruntime_version"),
    "sklearn": ("sklearn", "sklearn_version"),
}


@dataclass(frozen=True)
class Column:
    """One column that a model takes."""

    name: str
    type: str
    categories: list[str] | None = None
    """For text: what was seen in training, in code order. Anything else is null to the model."""


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives."""

    flavor: str
    file: str
    columns: list[Column]
    outputs: dict[str, OutputType]
    """As YAML declares them: a type's name, or a map for a class or a vector."""
    no_nulls: list[str] = field(default_factory=list)
    """Columns in which a null makes the model fail."""

    @staticmethod
    def read(folder: Path) -> Signature:
        """Reads a folder's signature."""
        try:
            told = json.loads((folder / SIGNATURE).read_text())
        except FileNotFoundError:
            raise ModelError(f"{folder} has no {SIGNATURE}: write it with tidemill.models.save") from None
        columns = [Column(c["name"], c["type"], c.get("categories")) for c in told["columns"]]
        return Signature(told["flavor"], told["file"], columns, told["outputs"], told.get("no_nulls", []))

    def write(self, folder: Path) -> None:
        """Writes `tidemill.json`, and MLflow's `MLmodel` unless MLflow did."""
        columns = [{key: value for key, value in vars(c).items() if value is not None} for c in self.columns]
        told = {
            "format": 1,
            "flavor": self.flavor,
            "file": self.file,
            "columns": columns,
            "outputs": self.outputs,
            "no_nulls": self.no_nulls,
            "golden": GOLDEN,
        }
        (folder / SIGNATURE).write_text(json.dumps(told, indent=1) + "\n")
        if not (folder / "MLmodel").exists():
            (folder / "MLmodel").write_text(self._mlmodel())

    def _mlmodel(self) -> str:
        inputs = [{"name": c.name, **_mlflow(c.type), "required": False} for c in self.columns]
        outputs = [{"name": name, **mlflow_type(output, _MLFLOW)} for name, output in self.outputs.items()]
        lines = ["flavors:"]
        if self.flavor in MLFLOW_FILES:
            module, key = _VERSIONS[self.flavor]
            lines += [
                f"  {self.flavor}:",
                f"    {MLFLOW_FILES[self.flavor]}: {self.file}",
                f"    {key}: {importlib.import_module(module).__version__}",
            ]
            lines += ["    serialization_format: cloudpickle"] if self.flavor == "sklearn" else []
        lines += [
            "  python_function:",
            f"    loader_module: {'tidemill.models' if self.flavor == 'python' else f'mlflow.{self.flavor}'}",
            *([] if self.flavor == "python" else [f"    data: {self.file}", f"    model_path: {self.file}"]),
            f"    python_version: {platform.python_version()}",
            "signature:",
            f"  inputs: {_quoted(inputs)}",
            f"  outputs: {_quoted(outputs)}",
        ]
        return "\n".join(lines) + "\n"


def save(
    out: Path,
    model: Any,
    rows: pd.DataFrame | pa.Table | Dataset,
    *,
    outputs: Mapping[str, OutputType] | None = None,
    flavor: str | None = None,
) -> Path:
    """Writes a model folder to `out`, and proves it: what is served from it is what `model` says of `rows`.

    `rows` are rows as the model was trained on: the author's own frame with the model's columns, or the step's
    `dataset`. Their types and categories become the signature. The model is asked about them, saved, loaded as serving
    loads it, and asked again; 64 rows, some with nulls, go with the folder as golden rows, with what `model` said. A
    model of scikit-learn's form that stopped early answers with its best iteration, as it does in memory. Columns in
    which a null makes the model fail are written down: serving such a model needs `on_missing: fail`.

    `outputs` are names and types as the model's YAML declares them, by default a dataset's, else one float
    `prediction`: `{"p": "float"}`, `{"species": {"type": "class", "classes": ["setosa", "versicolor"]}}`,
    `{"place": {"type": "vector", "size": 8}}`. In a step `dataset.outputs` is the declaration. Of a class a model gives
    the probabilities, `[rows x classes]` in the declared order (scikit-learn's are put in order by name): finite, each
    in 0 to 1, adding up to 1. Of a vector it gives `[rows x size]` finite floats.

    Raises `ModelError` if the model can't be served as it is: the message says why, and what to do.
    """
    from tidemill.models import predictors
    from tidemill.models.authors import author_of
    from tidemill.models.own import categorical, categories_of, in_own_order, names_of

    out.mkdir(parents=True, exist_ok=True)
    flavor = flavor or predictors.flavor_of(model)
    if isinstance(rows, Dataset):
        outputs = outputs or rows.outputs
        frame = rows.to_pandas(categorical=True)[rows.features]
    else:
        frame = types.to_pandas(rows) if isinstance(rows, pa.Table) else rows
    declared = checked(outputs or {"prediction": "float"})
    predictors.check_order(flavor, model, declared)
    file = predictors.write(flavor, model, out)
    if flavor in ("lightgbm", "xgboost"):
        own = in_own_order(names_of(flavor, model), [str(name) for name in frame.columns])
        words = [name for name in own if isinstance(frame[name].dtype, pd.CategoricalDtype)]
        learnt = categories_of(flavor, model, own, words)
        frame = _plain(frame, words)
        frame = categorical(frame, {name: learnt[name] for name in words if name in learnt})
    signature = Signature(flavor, file, columns_of(frame, _lists_of(rows)), declared)
    if flavor == "onnx":  # a graph has no object that an author would ask
        return complete(out, signature, None, frame)
    return complete(out, signature, author_of(flavor, model, declared), frame)


def complete(out: Path, signature: Signature, author: Any, frame: pd.DataFrame) -> Path:
    """Writes signature and golden rows; without an author, the folder itself is asked."""
    from tidemill.models import authors, predictors, proof

    if len(frame) == 0:
        raise ModelError("golden rows need at least one row of training data")
    rows = typed(frame, signature)
    signature.write(out)
    predictor = predictors.load(out)
    author = author or (lambda frame: predictor.predict(typed(frame, signature)))
    authors.asked(author, frame.iloc[:1])
    signature = replace(signature, no_nulls=proof.no_nulls(predictor, author, signature, rows))
    signature.write(out)
    proof.write_golden(out, signature, predictor, author, frame, rows)
    return out


def columns_of(rows: pd.DataFrame, lists: Mapping[str, str]) -> list[Column]:
    """Names, types and categories of the rows that a model was trained on. `lists`: the types of columns of lists."""
    columns = []
    for name in rows.columns:
        values = rows[name]
        if isinstance(values.dtype, pd.CategoricalDtype):
            categories = list(values.cat.categories)
            if not all(isinstance(category, str) for category in categories):
                raise ModelError(f"categories of `{name}` are not text: train on text, or on the numbers themselves")
            columns.append(Column(str(name), "string", categories))
        else:
            columns.append(Column(str(name), lists.get(name) or types.name_of(pa.Array.from_pandas(values).type)))
    return columns


def _lists_of(rows: pd.DataFrame | pa.Table | Dataset) -> dict[str, str]:
    """The types of columns of lists, where they are known: pandas forgets that lists have a length."""
    if isinstance(rows, Dataset):
        return {name: ty for name, ty in rows.inputs.items() if types.element(ty)}
    if isinstance(rows, pa.Table):
        nested = [field for field in rows.schema if pa.types.is_nested(field.type)]
        return {field.name: types.name_of(field.type) for field in nested}
    return {}


def typed(rows: pd.DataFrame | pa.Table, signature: Signature) -> pa.Table:
    """The signature's columns, each of its type."""
    if isinstance(rows, pd.DataFrame):
        rows = pa.Table.from_pandas(rows, preserve_index=False)
    return pa.table({c.name: _cast(rows.column(c.name), types.arrow(c.type)) for c in signature.columns})


def _mlflow(name: str) -> dict[str, Any]:
    """One of our types in MLflow's words."""
    of = types.element(name)
    return {"type": _MLFLOW[name]} if of is None else {"type": "array", "items": {"type": _MLFLOW[of]}}


def _plain(frame: pd.DataFrame, words: list[str]) -> pd.DataFrame:
    """Its columns of categories as text."""
    for name in words:
        if not all(isinstance(category, str) for category in frame[name].cat.categories):
            raise ModelError(f"categories of `{name}` are not text: train on text, or on the numbers themselves")
    return frame.assign(**{name: frame[name].astype("object") for name in words})


def _cast(values: pa.ChunkedArray, data_type: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return values.cast(data_type)


def _quoted(value: Any) -> str:
    """JSON as one YAML string, as MLflow keeps signatures."""
    return "'" + json.dumps(value).replace("'", "''") + "'"
