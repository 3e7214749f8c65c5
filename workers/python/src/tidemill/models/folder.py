"""Writes a model folder: the model's own file, its signature, and golden rows."""

from __future__ import annotations

import importlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from tidemill import types
from tidemill.models.outputs import ModelError, OutputType, checked, mlflow_type
from tidemill.step import Dataset

SIGNATURE = "tidemill.json"
GOLDEN = "golden.arrow"
EXPECTED = "expected."
"""What the golden rows' output columns begin with."""

_MLFLOW = {"string": "string", "int": "long", "float": "double", "bool": "boolean", "date": "datetime"}
_MLFLOW["timestamp"] = "datetime"
_MLFLOW_FILES = {"lightgbm": "data", "xgboost": "data", "onnx": "data", "sklearn": "pickled_model"}
"""MLflow's word for the model's own file, for each of its flavors that are read and written."""
_VERSIONS = {
    "lightgbm": ("lightgbm", "lgb_version"),
    "xgboost": ("xgboost", "xgb_version"),
    "onnx": ("onnxruntime", "onnxruntime_version"),
    "sklearn": ("sklearn", "sklearn_version"),
}
_BARE = {"model.txt": "lightgbm", "model.json": "xgboost", "model.ubj": "xgboost", "model.onnx": "onnx"}


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

    @staticmethod
    def read(folder: Path) -> Signature:
        """Reads a folder's signature."""
        try:
            told = json.loads((folder / SIGNATURE).read_text())
        except FileNotFoundError:
            raise ModelError(f"{folder} has no {SIGNATURE}: write it with tidemill.models.save") from None
        columns = [Column(c["name"], c["type"], c.get("categories")) for c in told["columns"]]
        return Signature(told["flavor"], told["file"], columns, told["outputs"])

    def write(self, folder: Path) -> None:
        """Writes `tidemill.json`, and MLflow's `MLmodel` unless MLflow did."""
        columns = [{key: value for key, value in vars(c).items() if value is not None} for c in self.columns]
        told = {
            "format": 1,
            "flavor": self.flavor,
            "file": self.file,
            "columns": columns,
            "outputs": self.outputs,
            "golden": GOLDEN,
        }
        (folder / SIGNATURE).write_text(json.dumps(told, indent=1) + "\n")
        if not (folder / "MLmodel").exists():
            (folder / "MLmodel").write_text(self._mlmodel())

    def _mlmodel(self) -> str:
        inputs = [{"name": c.name, "type": _MLFLOW[c.type], "required": False} for c in self.columns]
        outputs = [{"name": name, **mlflow_type(output, _MLFLOW)} for name, output in self.outputs.items()]
        lines = ["flavors:"]
        if self.flavor in _MLFLOW_FILES:
            module, key = _VERSIONS[self.flavor]
            lines += [
                f"  {self.flavor}:",
                f"    {_MLFLOW_FILES[self.flavor]}: {self.file}",
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
    rows: pd.DataFrame | pa.Table,
    *,
    outputs: Mapping[str, OutputType] | None = None,
    flavor: str | None = None,
) -> Path:
    """Writes a model folder to `out`.

    `rows` are rows as the model was trained on, its columns in order: their types and categories become the
    signature, and 64 of them, some with nulls, become the golden rows. `outputs` are names and types as the
    model's YAML declares them, by default one float `prediction`: `{"p": "float"}`, `{"species": {"type": "class",
    "classes": ["setosa", "versicolor"]}}`, `{"place": {"type": "vector", "size": 8}}`. In a step `dataset.outputs`
    is the declaration. Of a class a model gives the probabilities, `[rows x classes]` in the declared order
    (scikit-learn's are put in order by name): finite, each in 0 to 1, adding up to 1. Of a vector it gives
    `[rows x size]` finite floats.
    """
    from tidemill.models import predictors

    out.mkdir(parents=True, exist_ok=True)
    flavor = flavor or predictors.flavor_of(model)
    declared = checked(outputs or {"prediction": "float"})
    predictors.check_order(flavor, model, declared)
    signature = Signature(flavor, predictors.write(flavor, model, out), columns_of(rows), declared)
    _complete(out, signature, rows)
    return out


def wrap(out: Path, dataset: Dataset) -> None:
    """Completes what a step left: an MLflow folder as it is, or a bare model file. Does nothing for other things."""
    if (out / SIGNATURE).exists():
        return
    found = mlflow_model(out) if (out / "MLmodel").is_file() else bare_model(out)
    if found is None:
        return
    from tidemill.models import predictors

    flavor, file = found
    categories = predictors.categories_of(flavor, out / file, dataset)
    columns = [Column(name, ty, categories.get(name)) for name, ty in dataset.inputs.items()]
    signature = Signature(flavor, file, columns, dataset.outputs or {"prediction": "float"})
    _complete(out, signature, dataset.to_arrow(columns=dataset.features))


def bare_model(out: Path) -> tuple[str, str] | None:
    """Flavor and name of the one model file that a step left."""
    return next(((flavor, name) for name, flavor in _BARE.items() if (out / name).is_file()), None)


def mlflow_model(out: Path) -> tuple[str, str]:
    """Flavor and file of a folder that MLflow wrote."""
    import yaml  # MLflow brings it

    flavors = yaml.safe_load((out / "MLmodel").read_text()).get("flavors") or {}
    for flavor, key in _MLFLOW_FILES.items():
        if flavor in flavors:
            return flavor, str(flavors[flavor].get(key) or flavors["python_function"][key])
    raise ModelError(f"MLmodel has the flavors {', '.join(flavors)}; supported are {', '.join(_MLFLOW_FILES)}")


def columns_of(rows: pd.DataFrame | pa.Table) -> list[Column]:
    """Names, types and categories of the rows that a model was trained on."""
    if isinstance(rows, pa.Table):
        return [Column(field.name, types.name_of(field.type)) for field in rows.schema]
    columns = []
    for name in rows.columns:
        values = rows[name]
        if isinstance(values.dtype, pd.CategoricalDtype):
            categories = list(values.cat.categories)
            if not all(isinstance(category, str) for category in categories):
                raise ModelError(f"categories of `{name}` are not text: train on text, or on the numbers themselves")
            columns.append(Column(str(name), "string", categories))
        else:
            columns.append(Column(str(name), types.name_of(pa.Array.from_pandas(values).type)))
    return columns


def golden_inputs(rows: pa.Table, count: int = 64) -> pa.Table:
    """Rows from all over the set; of the last quarter each lacks some columns, the very last lacks all."""
    if len(rows) == 0:
        raise ModelError("golden rows need at least one row of training data")
    picked = rows.take([index * len(rows) // count for index in range(count)])
    lacking = count * 3 // 4
    columns = {}
    for place, name in enumerate(rows.column_names):
        values = picked.column(name).to_pylist()
        for index in range(lacking, count):
            if index == count - 1 or (index + place) % 3 == 0:
                values[index] = None
        columns[name] = pa.array(values, type=picked.schema.field(name).type, from_pandas=False)
    return pa.table(columns)


def _complete(out: Path, signature: Signature, rows: pd.DataFrame | pa.Table) -> None:
    """Writes signature and golden rows; what the model predicts is asked of the folder itself."""
    from tidemill.models import predictors

    signature.write(out)
    predictor = predictors.load(out)
    inputs = golden_inputs(typed(rows, signature))
    try:
        predicted = predictor.predict(inputs)
    except Exception:  # a model that can't take nulls is proven on whole rows
        inputs = inputs.slice(0, len(inputs) * 3 // 4)
        predicted = predictor.predict(inputs)
    for name in predicted.column_names:
        inputs = inputs.append_column(EXPECTED + name, predicted.column(name))
    with pa.OSFile(str(out / GOLDEN), "wb") as file, pa.ipc.new_stream(file, inputs.schema) as writer:
        writer.write_table(inputs)


def typed(rows: pd.DataFrame | pa.Table, signature: Signature) -> pa.Table:
    """The signature's columns, each of its type."""
    if isinstance(rows, pd.DataFrame):
        rows = pa.Table.from_pandas(rows, preserve_index=False)
    return pa.table({c.name: _cast(rows.column(c.name), types.ARROW[c.type]) for c in signature.columns})


def _cast(values: pa.ChunkedArray, data_type: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return values.cast(data_type)


def _quoted(value: Any) -> str:
    """JSON as one YAML string, as MLflow keeps signatures."""
    return "'" + json.dumps(value).replace("'", "''") + "'"
