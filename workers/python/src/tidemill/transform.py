"""Runs user transforms over rows: each row alone, or whole tables that are bisected where they raise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from tidemill import types
from tidemill.errors import ReturnedError, headline, traceback_of
from tidemill.protocol import Closed, shown

Function = Callable[..., Any]
Columns = Mapping[str, str]

_ENDS = (MemoryError, Closed, KeyboardInterrupt)
"""Not a row's: the process ends. Anything else that is raised is, also what libraries derive from `BaseException`."""


class Failure(NamedTuple):
    """One row that gave no result."""

    row: int
    message: str
    traceback: str
    returned: bool
    """Whether the function returned something else than declared, rather than raised."""


@dataclass
class Transformed:
    """The declared columns, null where a row failed."""

    rows: pa.Table
    failures: list[Failure] = field(default_factory=list)


def run(
    function: Function, mode: str, table: pa.Table, out: Columns, calling: Callable[[], None] = lambda: None
) -> Transformed:
    """Applies a function over rows in the given mode (`row` or `batch`); says `calling` before each call."""

    def called(argument: Any) -> Any:
        calling()
        return function(argument)

    return by_row(called, table, out) if mode == "row" else by_batch(called, table, out)


def by_row(function: Function, table: pa.Table, out: Columns) -> Transformed:
    """Calls the function with each row as a dict."""
    values: dict[str, list[Any]] = {name: [] for name in out}
    failures = []
    for index, row in enumerate(table.to_pylist()):
        try:
            result = _checked(function(row), out)
        except _ENDS:
            raise
        except BaseException as error:
            failures.append(_failure(index, error))
            result = dict.fromkeys(out)
        for name, value in result.items():
            values[name].append(value)
    return Transformed(_table({name: types.column(values[name], ty) for name, ty in out.items()}), failures)


def by_batch(function: Function, table: pa.Table, out: Columns) -> Transformed:
    """Calls the function with the whole table; if that raises, with its halves, down to the rows at fault."""
    try:
        return Transformed(_batch(function(table), len(table), out))
    except _ENDS:
        raise
    except BaseException as error:
        if len(table) == 0:
            raise
        if len(table) == 1:
            return Transformed(_nulls(1, out), [_failure(0, error)])
    half = len(table) // 2
    left = by_batch(function, table.slice(0, half), out)
    right = by_batch(function, table.slice(half), out)
    moved = [failure._replace(row=failure.row + half) for failure in right.failures]
    return Transformed(pa.concat_tables([left.rows, right.rows]), left.failures + moved)


def _checked(result: Any, out: Columns) -> dict[str, Any]:
    """The declared columns of one row's result, each of its type."""
    if not isinstance(result, Mapping):
        raise ReturnedError(f"returned {type(result).__name__}, expected a dict of {', '.join(out)}")
    _names(result, out)
    for name, ty in out.items():
        try:
            types.column([result[name]], ty)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            expected = str(error) if isinstance(error, types.UnfitError) else f"expected {ty}"
            raise ReturnedError(f"returned {shown(result[name])} as `{name}`, {expected}") from None
    return {name: result[name] for name in out}


def _batch(result: Any, rows: int, out: Columns) -> pa.Table:
    """The declared columns of a table's result, each of its type."""
    if isinstance(result, pd.DataFrame):
        result = pa.Table.from_pandas(_in_order(result), preserve_index=False)
    elif isinstance(result, pa.RecordBatch):
        result = pa.Table.from_batches([result])
    elif isinstance(result, Mapping):
        result = pa.table(dict(result))
    if not isinstance(result, pa.Table):
        raise ReturnedError(f"returned {type(result).__name__}, expected a table of {', '.join(out)}")
    _names(result.column_names, out)
    if len(result) != rows:
        raise ReturnedError(f"returned {len(result)} rows for {rows}")
    return _table({name: _cast(result.column(name), name, ty) for name, ty in out.items()})


def _in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows as they came, where the index still says which is which: after a sort they come in another order."""
    places = frame.index
    if places.is_monotonic_increasing or not pd.api.types.is_integer_dtype(places.dtype):
        return frame
    given = np.sort(places.to_numpy())
    return frame.sort_index() if np.array_equal(given, np.arange(len(frame))) else frame


def _cast(values: pa.ChunkedArray, name: str, ty: str) -> pa.ChunkedArray:
    try:
        return types.fit(values, ty)
    except types.UnfitError as error:
        raise ReturnedError(f"returned {values.type} as `{name}`, {error}") from None
    except pa.ArrowException as error:
        raise ReturnedError(f"returned {values.type} as `{name}`, expected {ty}: {error}") from None


def _names(got: Any, out: Columns) -> None:
    missing = [name for name in out if name not in got]
    extra = [name for name in got if name not in out]
    if missing or extra:
        told = [f"without `{name}`" for name in missing] + [f"undeclared `{name}`" for name in extra]
        raise ReturnedError(f"returned {', '.join(told)}; the declared names are {', '.join(out)}")


def _failure(row: int, error: BaseException) -> Failure:
    returned = isinstance(error, ReturnedError)
    return Failure(row, str(error) if returned else headline(error), traceback_of(error), returned)


def _table(columns: dict[str, Any]) -> pa.Table:
    """Floats that are not finite are null, as where SQL computes them."""
    return pa.table({name: types.finite(values) for name, values in columns.items()})


def _nulls(rows: int, out: Columns) -> pa.Table:
    return _table({name: pa.nulls(rows, types.arrow(ty)) for name, ty in out.items()})
