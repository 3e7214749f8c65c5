"""What a model gave, as the named, typed columns that were declared.

An output is a type's name, `{"type": "class", "classes": [...]}` or `{"type": "vector", "size": n}`, as in YAML.
A class travels as a list of the probabilities in the declared order, a vector as a list of its floats. Both are
checked here, so that a model that breaks its word is told so where it is saved, and later for the row in question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, SupportsFloat

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from tidemill import types

OutputType = str | Mapping[str, Any]
"""One output as declared."""
Matrix = npt.NDArray[np.float64]

_SUM_TOLERANCE = 1e-3
"""How far a row's probabilities may be from 1 together: models compute in 32 bits, and authors round."""
_ROUNDING = 1e-6
"""How far one may lie outside of 0 to 1; it is taken as 0 or 1."""


class ModelError(Exception):
    """The model or its signature can't be used."""


def classes_of(output: OutputType) -> list[str] | None:
    """The classes of a class."""
    return list(output["classes"]) if not isinstance(output, str) and output.get("type") == "class" else None


def width(output: OutputType) -> int:
    """How many columns of a model's array are the output's."""
    if isinstance(output, str):
        return 1
    return len(output["classes"]) if output["type"] == "class" else int(output["size"])


def arrow_type(output: OutputType) -> pa.DataType:
    """The Arrow type of an output's column."""
    return types.ARROW[output] if isinstance(output, str) else pa.list_(pa.float64(), width(output))


def mlflow_type(output: OutputType, scalars: Mapping[str, str]) -> dict[str, Any]:
    """The type in MLflow's words."""
    return {"type": scalars[output]} if isinstance(output, str) else {"type": "array", "items": {"type": "double"}}


def checked(outputs: Mapping[str, OutputType]) -> dict[str, OutputType]:
    """Outputs as their author wrote them, if they are right."""
    for name, output in outputs.items():
        told = {"type": output} if isinstance(output, str) else dict(output)
        kind = told.pop("type", None)
        if kind in types.ARROW and not told:
            continue
        classes, size = told.pop("classes", None), told.pop("size", None)
        right = kind == "class" and _names(classes) and size is None
        right = right or (kind == "vector" and isinstance(size, int) and size > 0 and classes is None)
        if told or not right:
            raise ModelError(
                f"output `{name}` is declared as {output!r}; write a type ({', '.join(types.ARROW)}), "
                '{"type": "class", "classes": ["a", "b"]} or {"type": "vector", "size": 8}'
            )
    return {name: _plain(output) for name, output in outputs.items()}


def as_outputs(raw: Any, outputs: Mapping[str, OutputType], rows: int) -> pa.Table:
    """What a model gave as named, typed columns.

    Dicts and frames are taken by name: of a class `[rows x classes]` probabilities in the declared order, of a vector
    `[rows x size]` floats. Of an array, the columns are shared out in the declared order. Where one output is asked
    for, models that only know no and yes are understood: two columns for a float are both, and yes is taken; one
    column for a class of two is the second's probability.
    """
    if isinstance(raw, pa.Table | pd.DataFrame | dict):
        return pa.table({name: _output(name, raw[name], output, rows) for name, output in outputs.items()})
    array = np.asarray(raw)
    array = array.reshape(rows, -1)
    widths = [width(output) for output in outputs.values()]
    if len(outputs) == 1 and widths[0] == 1 and array.shape[1] == 2:
        array = array[:, 1:]
    if len(outputs) == 1 and array.shape[1] == 1 and _two_classes(outputs):
        array = np.hstack([1 - array, array])
    if array.shape[1] != sum(widths):
        raise ModelError(f"the model gives {array.shape[1]} columns; the declared outputs are {_declared(outputs)}")
    ends = np.cumsum(widths)
    parts = [array[:, end - width : end] for end, width in zip(ends, widths, strict=True)]
    return pa.table(
        {name: _output(name, part, output, rows) for (name, output), part in zip(outputs.items(), parts, strict=True)}
    )


def in_declared_order(array: Any, known: Sequence[Any], outputs: Mapping[str, OutputType]) -> Any:
    """Columns of probabilities in the order of the declared classes, where the model names its own.

    Classes that are only numbered from 0 are taken as places in the declared list; those of a bool are `true` and
    `false`.
    """
    classes = classes_of(next(iter(outputs.values()))) if len(outputs) == 1 else None
    if classes is None:
        return array
    names = [str(name).lower() if isinstance(name, bool | np.bool_) else str(name) for name in known]
    if set(names) == set(classes):
        return np.asarray(array)[:, [names.index(name) for name in classes]]
    if names == [str(place) for place in range(len(classes))]:
        return array
    raise ModelError(f"the model's classes are {', '.join(names)}; the declared classes are {', '.join(classes)}")


def _output(name: str, values: Any, output: OutputType, rows: int) -> pa.Array:
    if not isinstance(output, str):
        matrix = _matrix(name, values, output, rows)
        matrix = _probabilities(name, matrix) if output["type"] == "class" else _finite(name, matrix)
        return pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), width(output))
    if isinstance(values, np.ndarray):
        values = values.reshape(rows)
    if output == "float" and not isinstance(values, pa.ChunkedArray):
        return pa.array(_numbers(name, values), from_pandas=False)
    try:
        if isinstance(values, pa.ChunkedArray):
            return types.fit(values, output)
        if isinstance(values, np.ndarray) and values.dtype.kind == "M":
            values = values.astype("datetime64[us]")  # Python has no finer ones
        return types.column(values.tolist() if hasattr(values, "tolist") else list(values), output)
    except types.UnfitError as error:
        raise ModelError(f"output `{name}`: {error}, got {error.given}") from None


def _numbers(name: str, values: Any) -> npt.NDArray[np.float64]:
    """Numbers as they are: text that looks like one is none."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        for row, value in enumerate(np.asarray(values, dtype=object)):
            if isinstance(value, str | bytes) or not isinstance(value, SupportsFloat | None):
                raise ModelError(f"output `{name}`, row {row}: {value!r:.100} is not a number")
    return np.asarray(values, dtype=np.float64)


def _matrix(name: str, values: Any, output: OutputType, rows: int) -> Matrix:
    values = values.to_pylist() if isinstance(values, pa.ChunkedArray) else values
    values = values.tolist() if isinstance(values, pd.Series) else values
    try:
        matrix = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ModelError(
            f"output `{name}`: expected {rows} x {width(output)} floats, got values of another type or shape"
        ) from None
    if matrix.shape != (rows, width(output)):
        what = "probabilities, one for each class" if output["type"] == "class" else "floats"  # type: ignore[index]
        got = " x ".join(str(length) for length in matrix.shape)
        raise ModelError(f"output `{name}`: expected {rows} x {width(output)} {what}, got {got}")
    return matrix


def _probabilities(name: str, matrix: Matrix) -> Matrix:
    outside = ~((matrix >= -_ROUNDING) & (matrix <= 1 + _ROUNDING))  # NaN is outside too
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise ModelError(f"output `{name}`, row {row}: {matrix[row, column]:g} is not a probability")
    sums = matrix.sum(axis=1)
    wrong = np.abs(sums - 1) > _SUM_TOLERANCE
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ModelError(f"output `{name}`, row {row}: its probabilities add up to {sums[row]:g}, not to 1")
    return np.clip(matrix, 0.0, 1.0)


def _finite(name: str, matrix: Matrix) -> Matrix:
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0]
        raise ModelError(f"output `{name}`, row {row}: {matrix[row, column]:g} is not finite")
    return matrix


def _two_classes(outputs: Mapping[str, OutputType]) -> bool:
    return len(classes_of(next(iter(outputs.values()))) or []) == 2


def _declared(outputs: Mapping[str, OutputType]) -> str:
    return ", ".join(name if width(output) == 1 else f"{name} ({width(output)})" for name, output in outputs.items())


def _names(classes: Any) -> bool:
    if not isinstance(classes, list | tuple) or not all(isinstance(name, str) for name in classes):
        return False
    return len(classes) > 1 and len(set(classes)) == len(classes)


def _plain(output: OutputType) -> OutputType:
    """As it is kept in a signature; `{"type": "float"}` is `"float"`."""
    if isinstance(output, str):
        return output
    kept = {key: list(value) if key == "classes" else value for key, value in output.items()}
    return str(kept["type"]) if kept["type"] in types.ARROW else kept
