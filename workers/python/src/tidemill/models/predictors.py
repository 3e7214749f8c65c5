"""Loads model folders of every flavor behind one `predict(rows) -> outputs`.

Libraries are imported when a model needs them. Text columns with recorded categories become their codes (trees)
or categories (frames); text that was not seen in training is null.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tidemill import types
from tidemill.errors import installed
from tidemill.models.folder import Signature
from tidemill.models.outputs import (
    Matrix,
    ModelError,
    OutputType,
    arrow_type,
    as_outputs,
    classes_of,
    in_declared_order,
)
from tidemill.step import Dataset


class Predictor(Protocol):
    """A loaded model."""

    def predict(self, rows: pa.Table) -> pa.Table:
        """The named, typed outputs of rows that have the signature's columns."""


class _Loaded:
    """A model as one function over rows in the form that its flavor takes."""

    def __init__(self, signature: Signature, form: Callable[[pa.Table, Signature], Any], ask: Callable[[Any], Any]):
        self._signature = signature
        self._form = form
        self._ask = ask

    def predict(self, rows: pa.Table) -> pa.Table:
        """The named, typed outputs of rows that have the signature's columns."""
        if len(rows) == 0:
            return pa.table({name: pa.nulls(0, arrow_type(ty)) for name, ty in self._signature.outputs.items()})
        return as_outputs(self._ask(self._form(rows, self._signature)), self._signature.outputs, len(rows))


def load(folder: Path) -> Predictor:
    """Loads a model folder."""
    signature = Signature.read(folder)
    loader = _LOADERS.get(signature.flavor)
    if loader is None:
        raise ModelError(f"flavor `{signature.flavor}` is not supported yet; there are {', '.join(_LOADERS)}")
    return loader(signature, folder / signature.file)


def flavor_of(model: Any) -> str:
    """The flavor of a model in memory, by the library it comes from; anything that has `predict` is `python`."""
    library = type(model).__module__.partition(".")[0]
    if library in ("lightgbm", "xgboost", "sklearn", "onnx", "torch", "transformers"):
        return library
    if hasattr(model, "predict"):
        return "python"
    raise ModelError(f"{type(model).__name__} is no model: it has no `predict`")


def check_order(flavor: str, model: Any, outputs: Mapping[str, OutputType]) -> None:
    """A booster's file forgets the names of its classes: they must be declared in the order that it learnt them in."""
    known = getattr(model, "classes_", None)
    if flavor in ("lightgbm", "xgboost") and known is not None:
        places = np.arange(len(known)).reshape(1, -1)
        if not np.array_equal(in_declared_order(places, known, outputs), places):
            names = ", ".join(str(name) for name in known)
            raise ModelError(f"the model learnt its classes in the order {names}: declare them so")


def write(flavor: str, model: Any, out: Path) -> str:
    """Writes a model's own file in its library's format. Its name."""
    if flavor == "lightgbm":
        getattr(model, "booster_", model).save_model(str(out / "model.txt"))
        return "model.txt"
    if flavor == "xgboost":
        model.save_model(str(out / "model.ubj"))
        return "model.ubj"
    if flavor == "onnx":
        (out / "model.onnx").write_bytes(model.SerializeToString())
        return "model.onnx"
    if flavor not in ("sklearn", "python"):
        raise ModelError(f"flavor `{flavor}` is not supported yet; there are {', '.join(_LOADERS)}")
    (out / "model.pkl").write_bytes(_pickled(model))
    return "model.pkl"


def categories_of(flavor: str, file: Path, dataset: Dataset) -> dict[str, list[str]]:
    """Categories of a bare model file's text columns: as the file tells, else all values of the training set."""
    text = [name for name, ty in dataset.inputs.items() if ty == "string"]
    if flavor == "lightgbm":
        import lightgbm

        told = lightgbm.Booster(model_file=str(file)).pandas_categorical or []
        if len(told) == len(text):
            return dict(zip(text, told, strict=True))
    return dataset.categories


def as_matrix(rows: pa.Table, signature: Signature) -> Matrix:
    """`[rows x columns]` of f64, text as the code of its category; null and unseen are NaN."""
    matrix = np.empty((len(rows), len(signature.columns)))
    for index, column in enumerate(signature.columns):
        values = rows.column(column.name).combine_chunks()
        if column.type == "string":
            values = pc.index_in(values, value_set=pa.array(column.categories or [], pa.string()))
        elif column.type not in ("int", "float", "bool"):
            raise ModelError(f"`{column.name}` is a {column.type}: flavor {signature.flavor} takes numbers and text")
        matrix[:, index] = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return matrix


def as_frame(rows: pa.Table, signature: Signature) -> pd.DataFrame:
    """Rows as pandas, text with recorded categories as categories."""
    frame = types.to_pandas(rows.select([column.name for column in signature.columns]))
    for column in signature.columns:
        if column.categories is not None:
            values = frame[column.name]
            known = values.where(values.isin(column.categories))
            frame[column.name] = pd.Categorical(known, categories=column.categories)
    return frame


def _lightgbm(signature: Signature, file: Path) -> Predictor:
    import lightgbm

    booster = lightgbm.Booster(model_file=str(file))
    told = booster.pandas_categorical or []
    recorded = [column.categories for column in signature.columns if column.categories is not None]
    if told and told != recorded:
        raise ModelError("the signature's categories are not those that the booster was trained with")
    return _Loaded(signature, as_matrix, lambda matrix: booster.predict(matrix, num_threads=1))


def _xgboost(signature: Signature, file: Path) -> Predictor:
    import xgboost

    booster = xgboost.Booster(model_file=str(file))
    booster.set_param({"nthread": 1})
    names = booster.feature_names
    kinds = ["c" if column.categories is not None else "q" for column in signature.columns]

    def ask(matrix: Matrix) -> Any:
        rows = xgboost.DMatrix(
            matrix, feature_names=names, feature_types=kinds, enable_categorical="c" in kinds, nthread=1
        )
        return booster.predict(rows, validate_features=False)

    return _Loaded(signature, as_matrix, ask)


def _sklearn(signature: Signature, file: Path) -> Predictor:
    model = pickle.loads(file.read_bytes())
    if hasattr(model, "predict_proba") and all(_probable(output) for output in signature.outputs.values()):
        known = getattr(model, "classes_", None)

        def ask(frame: pd.DataFrame) -> Any:
            array = model.predict_proba(frame)
            return array if known is None else in_declared_order(array, known, signature.outputs)

        return _Loaded(signature, as_frame, ask)
    # What has no answers of its own, such as a PCA, is asked for its vectors.
    return _Loaded(signature, as_frame, getattr(model, "predict", None) or model.transform)


def _probable(output: OutputType) -> bool:
    return output == "float" or classes_of(output) is not None


def _python(signature: Signature, file: Path) -> Predictor:
    return _Loaded(signature, as_frame, pickle.loads(file.read_bytes()).predict)


def _onnx(signature: Signature, file: Path) -> Predictor:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    taken = session.get_inputs()
    given = [output.name for output in session.get_outputs()]
    wanted = list(signature.outputs)
    # Classifiers give labels first and probabilities last.
    asked = wanted if set(wanted) <= set(given) else given[-1:]

    def ask(rows: pa.Table) -> Any:
        matrix = as_matrix(rows, signature)
        if len(taken) == 1:
            feed = {taken[0].name: matrix.astype(_NUMPY.get(taken[0].type, np.float32))}
        else:
            places = {column.name: index for index, column in enumerate(signature.columns)}
            feed = {one.name: matrix[:, [places[one.name]]].astype(_NUMPY.get(one.type, np.float32)) for one in taken}
        results = session.run(asked, feed)
        if asked == wanted:
            return dict(zip(asked, results, strict=True))
        if isinstance(results[0], list):  # a ZipMap: one dict of class probabilities a row
            array = np.array([list(row.values()) for row in results[0]])
            return in_declared_order(array, list(results[0][0]), signature.outputs)
        return results[0]

    return _Loaded(signature, lambda rows, _: rows, ask)


def _pickled(model: Any) -> bytes:
    """A pickle with the author's own class in it, so that the folder doesn't need the project that trained it."""
    try:
        import cloudpickle
    except ImportError:
        return pickle.dumps(model)
    module = sys.modules[type(model).__module__]
    file = getattr(module, "__file__", None)
    if module.__name__ == "__main__" or file is None or installed(file):
        return cloudpickle.dumps(model)  # type: ignore[no-any-return]
    cloudpickle.register_pickle_by_value(module)
    try:
        return cloudpickle.dumps(model)  # type: ignore[no-any-return]
    finally:
        cloudpickle.unregister_pickle_by_value(module)


_NUMPY = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}

_LOADERS: dict[str, Callable[[Signature, Path], Predictor]] = {
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
    "sklearn": _sklearn,
    "onnx": _onnx,
    "python": _python,
}
