"""Loads model folders of every flavor behind one `predict(rows) -> outputs`.

Libraries are imported when a model needs them. Text columns with recorded categories become their codes (trees)
or categories (frames); text that was not seen in training is null.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tidemill import types
from tidemill.errors import of_the_author
from tidemill.models import authors
from tidemill.models.folder import Column, Signature
from tidemill.models.outputs import (
    Matrix,
    ModelError,
    OutputType,
    arrow_type,
    as_outputs,
    in_declared_order,
)
from tidemill.models.own import FRAME, categories_of, in_own_order, names_of, xgboost_rounds


class Predictor(Protocol):
    """A loaded model."""

    def predict(self, rows: pa.Table) -> pa.Table:
        """The named, typed outputs of rows that have the signature's columns."""


class _Loaded:
    """A model as one function over rows in the form that its flavor takes, its columns in its own order."""

    def __init__(
        self,
        signature: Signature,
        names: Sequence[str] | None,
        form: Callable[[pa.Table, list[Column]], Any],
        ask: Callable[[Any], Any],
    ):
        declared = {column.name: column for column in signature.columns}
        self._columns = [declared[name] for name in in_own_order(names, list(declared))]
        self._outputs = signature.outputs
        self._form = form
        self._ask = ask

    def predict(self, rows: pa.Table) -> pa.Table:
        """The named, typed outputs of rows that have the signature's columns."""
        if len(rows) == 0:
            return pa.table({name: pa.nulls(0, arrow_type(ty)) for name, ty in self._outputs.items()})
        return as_outputs(self._ask(self._form(rows, self._columns)), self._outputs, len(rows))


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
    raise ModelError(f"{type(model).__name__} is not a model: it has no `predict`")


def check_order(flavor: str, model: Any, outputs: Mapping[str, OutputType]) -> None:
    """A booster's file forgets the names of its classes: they must be declared in the order that it learnt them in."""
    if flavor in ("lightgbm", "xgboost"):
        check_learnt(model, outputs)


def check_learnt(model: Any, outputs: Mapping[str, OutputType]) -> None:
    """Refuses classes that are declared in another order than the model learnt them in, where it knows them."""
    known = getattr(model, "classes_", None)
    if known is not None:
        places = np.arange(len(known)).reshape(1, -1)
        if not np.array_equal(in_declared_order(places, known, outputs), places):
            names = ", ".join(str(name) for name in known)
            raise ModelError(f"the model learnt its classes in the order {names}: declare them in this order")


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


def opened(flavor: str, file: Path) -> Any:
    """A model's own file as its library's object; what an author would ask."""
    if flavor == "lightgbm":
        import lightgbm

        return lightgbm.Booster(model_file=str(file))
    if flavor == "xgboost":
        import xgboost

        booster = xgboost.Booster(model_file=str(file))
        booster.set_param({"nthread": 1})
        return booster
    if file.name == "MLmodel":
        return _of_mlflow(file.parent)
    return pickle.loads(file.read_bytes())


def _of_mlflow(folder: Path) -> Any:
    """A folder as MLflow's `python_function`: whatever its flavor is, a frame in and predictions out."""
    try:
        import mlflow.pyfunc
    except ImportError:
        raise ModelError(
            "MLflow loads this folder, and the workers' Python lacks it: install mlflow-skinny there, or declare the "
            "runtime of the folder's own flavor"
        ) from None
    return mlflow.pyfunc.load_model(str(folder))


def as_matrix(rows: pa.Table, columns: Sequence[Column]) -> Matrix:
    """`[rows x columns]` of f64, text as the code of its category; null and unseen are NaN.

    A list of n numbers is n columns, in its place.
    """
    ends = np.cumsum([types.length(column.type) or 1 for column in columns])
    matrix = np.empty((len(rows), int(ends[-1]) if columns else 0))
    for column, end in zip(columns, ends, strict=True):
        values = rows.column(column.name).combine_chunks()
        if (length := types.length(column.type)) is not None:
            nothing = [np.nan] * length
            lists = [nothing if value is None else value for value in values.to_pylist()]
            matrix[:, end - length : end] = np.array(lists, dtype=np.float64).reshape(len(rows), length)
            continue
        if column.type == "string":
            values = pc.index_in(values, value_set=pa.array(column.categories or [], pa.string()))
        matrix[:, end - 1] = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return matrix


def as_frame(rows: pa.Table, columns: Sequence[Column]) -> pd.DataFrame:
    """Rows as pandas, text with recorded categories as categories."""
    frame = types.to_pandas(rows.select([column.name for column in columns]))
    for column in columns:
        if column.categories is not None:
            values = frame[column.name]
            known = values.where(values.isin(column.categories))
            frame[column.name] = pd.Categorical(known, categories=column.categories)
    return frame


def check_numbers(signature: Signature) -> None:
    """A matrix holds numbers: text must have codes, and there are none but those of the training."""
    for column in signature.columns:
        if column.type == "string" and column.categories is None:
            raise ModelError(
                f"`{column.name}` is text, and the model records no categories for it, so its codes aren't known; "
                f"train on a frame with the column as `category` (`dataset.to_pandas(categorical=True)`), or {FRAME}"
            )
        if signature.flavor == "onnx" and types.element(column.type) in ("int", "float", "bool"):
            if types.length(column.type) is None:
                raise ModelError(
                    f"`{column.name}` is a {column.type}: a graph takes lists of one length; declare it, as in "
                    "`float[64]`, and save the model with the step's dataset, which knows it"
                )
        elif column.type not in ("int", "float", "bool", "string"):
            raise ModelError(f"`{column.name}` is a {column.type}: flavor {signature.flavor} takes numbers and text")


def _check_categories(signature: Signature, learnt: Mapping[str, list[str]]) -> None:
    recorded = {column.name: column.categories for column in signature.columns if column.categories is not None}
    if recorded != dict(learnt):
        raise ModelError("the signature's categories are not those that the booster was trained with")


def _lightgbm(signature: Signature, file: Path) -> Predictor:
    check_numbers(signature)
    booster = opened("lightgbm", file)
    names = names_of("lightgbm", booster)
    columns = in_own_order(names, [column.name for column in signature.columns])
    text = [column.name for column in signature.columns if column.categories is not None]
    learnt = categories_of("lightgbm", booster, columns, text)
    if booster.pandas_categorical:
        _check_categories(signature, learnt)
    return _Loaded(signature, names, as_matrix, lambda matrix: booster.predict(matrix, num_threads=1))


def _xgboost(signature: Signature, file: Path) -> Predictor:
    import xgboost

    check_numbers(signature)
    booster = opened("xgboost", file)
    learnt = categories_of("xgboost", booster, [], [])
    if learnt:
        _check_categories(signature, learnt)
    names, rounds = names_of("xgboost", booster), xgboost_rounds(booster)
    declared = {column.name: column for column in signature.columns}
    columns = in_own_order(names, list(declared))
    kinds = ["c" if declared[name].categories is not None else "q" for name in columns]

    def ask(matrix: Matrix) -> Any:
        rows = xgboost.DMatrix(
            matrix, feature_names=names, feature_types=kinds, enable_categorical="c" in kinds, nthread=1
        )
        return booster.predict(rows, validate_features=False, iteration_range=rounds)

    return _Loaded(signature, names, as_matrix, ask)


def _sklearn(signature: Signature, file: Path) -> Predictor:
    model = opened("sklearn", file)
    return _Loaded(signature, names_of("sklearn", model), as_frame, authors.sklearn(model, signature.outputs))


def _python(signature: Signature, file: Path) -> Predictor:
    return _Loaded(signature, None, as_frame, opened("python", file).predict)


def _onnx(signature: Signature, file: Path) -> Predictor:
    import onnxruntime

    check_numbers(signature)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    taken = session.get_inputs()
    given = [output.name for output in session.get_outputs()]
    wanted = list(signature.outputs)
    # Classifiers give labels first and probabilities last.
    asked = wanted if set(wanted) <= set(given) else given[-1:]

    names = onnx_names(taken)
    own = in_own_order(names, [column.name for column in signature.columns])
    width = {column.name: types.length(column.type) or 1 for column in signature.columns}

    def ask(matrix: Matrix) -> Any:
        if names is None:
            feed = {taken[0].name: matrix.astype(_NUMPY.get(taken[0].type, np.float32))}
        else:
            ends = np.cumsum([width[name] for name in own])
            place = {name: slice(end - width[name], end) for name, end in zip(own, ends, strict=True)}
            feed = {one.name: matrix[:, place[one.name]].astype(_NUMPY.get(one.type, np.float32)) for one in taken}
        results = session.run(asked, feed)
        if asked == wanted:
            return dict(zip(asked, results, strict=True))
        if isinstance(results[0], list):  # a ZipMap: one dict of class probabilities a row
            array = np.array([list(row.values()) for row in results[0]])
            return in_declared_order(array, list(results[0][0]), signature.outputs)
        return results[0]

    return _Loaded(signature, names, as_matrix, ask)


def onnx_names(taken: Sequence[Any]) -> list[str] | None:
    """The columns of a graph that takes each by its name; none of one that takes a matrix."""
    return None if len(taken) == 1 else [one.name for one in taken]


def _pickled(model: Any) -> bytes:
    """A pickle with the author's own classes and functions in it, so that it doesn't need the project."""
    try:
        import cloudpickle
    except ImportError:
        return pickle.dumps(model)
    own = [module for module in list(sys.modules.values()) if of_the_author(module)]
    for module in own:
        cloudpickle.register_pickle_by_value(module)
    try:
        return cloudpickle.dumps(model)  # type: ignore[no-any-return]
    finally:
        for module in own:
            cloudpickle.unregister_pickle_by_value(module)


_NUMPY = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}

_LOADERS: dict[str, Callable[[Signature, Path], Predictor]] = {
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
    "sklearn": _sklearn,
    "onnx": _onnx,
    "python": _python,
}
