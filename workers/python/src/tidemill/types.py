"""The column types in Arrow and pandas, so that text, days, instants, decimals and nulls keep their meaning."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.protocol import shown

ARROW: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
"""Arrow's type of each of ours that a word alone says."""
_DECIMAL = re.compile(r"decimal\((\d+),(\d+)\)")
_LIST = re.compile(r"(.+)\[(\d*)\]")

_TAKEN = {
    "string": ("string",),
    "int": ("int", "float"),
    "float": ("float", "int"),
    "bool": ("bool",),
    "date": ("date", "timestamp"),
    "timestamp": ("timestamp", "date"),
}
"""Which of our types an Arrow column may be of; that no digit is lost is checked as well."""
_WANTED = {"date": "a date, or a datetime at midnight without a zone", "timestamp": "a datetime"}
_DIGITS = "a decimal.Decimal or a whole number, with no more digits"
_COMPLETE = "a list or an array in which nothing is missing"
_NO_NUL = "text without a NUL character"
_YEARS = "a time of the years 1 to 9999 in UTC"
_RANGES = {
    "date": (dt.date.min, dt.date.max),
    "timestamp": (dt.datetime.min.replace(tzinfo=dt.UTC), dt.datetime.max.replace(tzinfo=dt.UTC)),
}
"""The first and the last that are held."""


def arrow(name: str) -> pa.DataType:
    """Arrow's type of one of ours: `float`, `decimal(12,2)`, `float[64]`, `string[]`."""
    if name in ARROW:
        return ARROW[name]
    if digits := _DECIMAL.fullmatch(name):
        return pa.decimal128(int(digits[1]), int(digits[2]))
    if (of := element(name)) is not None:
        return pa.list_(arrow(of), length(name) or -1)
    raise TypeError(f"`{name}` is no type")


def element(name: str) -> str | None:
    """What a list holds; none of what is no list."""
    found = _LIST.fullmatch(name)
    return found[1] if found else None


def length(name: str) -> int | None:
    """How many values a list of a fixed length has."""
    found = _LIST.fullmatch(name)
    return int(found[2]) if found and found[2] else None


def name_of(data_type: pa.DataType) -> str:
    """Our word for an Arrow type."""
    if pa.types.is_fixed_size_list(data_type):
        return f"{name_of(data_type.value_type)}[{data_type.list_size}]"
    if pa.types.is_list(data_type) or pa.types.is_large_list(data_type):
        return f"{name_of(data_type.value_type)}[]"
    if pa.types.is_dictionary(data_type):
        return name_of(data_type.value_type)
    if pa.types.is_string(data_type) or pa.types.is_large_string(data_type) or pa.types.is_string_view(data_type):
        return "string"
    if pa.types.is_boolean(data_type):
        return "bool"
    if pa.types.is_integer(data_type):
        return "int"
    if pa.types.is_floating(data_type) or pa.types.is_decimal(data_type):
        return "float"
    if pa.types.is_date(data_type):
        return "date"
    if pa.types.is_timestamp(data_type):
        return "timestamp"
    raise TypeError(f"{data_type} is none of {', '.join(ARROW)}")


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """Rows as pandas: text is `str`, days are `datetime.date`, instants are UTC, lists arrays, decimals `Decimal`.

    Integers and truths with nulls are pandas' nullable `Int64` and `boolean`, so that a null never turns an
    integer into a float. Floats are plain `float64`, where null and NaN are one: use Arrow to tell them apart.
    """
    frame = table.to_pandas(date_as_object=True, integer_object_nulls=True)
    for name in table.column_names:
        column = table.column(name)
        if column.null_count and pa.types.is_integer(column.type):
            frame[name] = frame[name].astype("Int64")
        elif column.null_count and pa.types.is_boolean(column.type):
            frame[name] = frame[name].astype("boolean")
    return frame


class UnfitError(ValueError):
    """What was given is none of a type; says what would be, where the type's name doesn't."""

    def __init__(self, given: str, name: str, wanted: str = "") -> None:
        wanted = wanted or _WANTED.get(name, "")
        super().__init__(f"expected {name}: {wanted}" if wanted else f"expected {name}")
        self.given = given


def column(values: Any, name: str) -> pa.Array:
    """Python values as one of our types: `None`, `pd.NA` and `pd.NaT` are null, NaN stays NaN.

    No value is taken for one of another kind: a number is no instant, a truth no number.
    """
    # Checked in Python: Arrow's functions are slow on columns of one value, and each row of a transform is one.
    return pa.array([_python(value, name) for value in values], type=arrow(name), from_pandas=False)


def fit(values: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """An Arrow column as one of our types, by the same rules.

    Whole floats are ints, and naive midnights dates: pandas has no others where one is missing.
    """
    if values.null_count == len(values):
        return pa.chunked_array([pa.nulls(len(values), arrow(name))])
    if name not in ARROW:
        return pa.chunked_array([column(values.to_pylist(), name)])
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    try:
        given = name_of(values.type)
    except TypeError:
        given = None
    if given not in _TAKEN[name]:
        raise UnfitError(str(values.type), name)
    if name == "date" and given == "timestamp":
        _check_midnights(values)
    return _held(values.cast(options=pc.CastOptions(ARROW[name], allow_time_truncate=True)), name)


def _python(value: Any, name: str) -> Any:
    if isinstance(value, np.datetime64):
        value = value.astype("datetime64[us]").item()
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if name not in ARROW:
        return _decimal(value, name) if element(name) is None else _list(value, name)
    if name == "timestamp" and type(value) is dt.date:
        return dt.datetime.combine(value, dt.time())
    if not _python_fits(value, name):
        raise UnfitError(shown(value), name)
    if name == "string" and "\0" in value:
        raise UnfitError(shown(value), name, _NO_NUL)
    if name == "timestamp" and not _in_years(value):
        raise UnfitError(shown(value), name, _YEARS)
    return value


def _decimal(value: Any, name: str) -> Any:
    """What is no finite number is missing, as of floats."""
    if not isinstance(value, Decimal | int | np.integer) or isinstance(value, bool):
        raise UnfitError(shown(value), name, _DIGITS)
    value = value if isinstance(value, Decimal) else Decimal(int(value))
    if not value.is_finite():
        return None
    try:
        pa.scalar(value, arrow(name))
    except pa.ArrowInvalid:
        raise UnfitError(shown(value), name, _DIGITS) from None
    return value


def _list(value: Any, name: str) -> list[Any] | None:
    """A list with something in it that is no finite number is missing, as such a number alone is."""
    if isinstance(value, np.ndarray | pd.Series):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        raise UnfitError(shown(value), name, _COMPLETE)
    of, wanted = str(element(name)), length(name)
    if any(isinstance(item, float | Decimal) and not np.isfinite(float(item)) for item in value):
        return None
    items = [_python(item, of) for item in value]
    if any(item is None for item in items):
        raise UnfitError(shown(value), name, _COMPLETE)
    if wanted is not None and len(items) != wanted:
        raise UnfitError(f"{len(items)} values", name)
    return items


def _python_fits(value: Any, name: str) -> bool:
    if name == "timestamp":
        return isinstance(value, dt.datetime)
    if name == "date" and isinstance(value, dt.datetime):
        return value.tzinfo is None and value.time() == dt.time() and not getattr(value, "nanosecond", 0)
    if name == "date":
        return isinstance(value, dt.date)
    if name == "string":
        return isinstance(value, str)
    if isinstance(value, bool | np.bool_):
        return name == "bool"
    return name != "int" or not isinstance(value, float | np.floating)


def _in_years(value: dt.datetime) -> bool:
    if 1 < value.year < 9999:
        return True
    try:
        return 1 <= (value if value.tzinfo is None else value.astimezone(dt.UTC)).year <= 9999
    except (OverflowError, ValueError):
        return False


def _check_midnights(values: pa.ChunkedArray) -> None:
    if values.type.tz is None:
        midnights = values.cast(ARROW["date"], safe=False).cast(values.type, safe=False)
        if pc.all(pc.equal(values, midnights)).as_py():
            return
    raise UnfitError(str(values.type), "date")


def _held(values: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """The column, if every door can hold its values: text has no NUL, and days and instants have four digits a year."""
    if name == "string" and pc.any(pc.match_substring(values, "\0")).as_py():
        raise UnfitError(str(values.type), name, _NO_NUL)
    if name in _RANGES:
        first, last = (pa.scalar(end, ARROW[name]) for end in _RANGES[name])
        if pc.any(pc.or_(pc.less(values, first), pc.greater(values, last))).as_py():
            raise UnfitError(str(values.type), name, _YEARS)
    return values


def finite(values: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """The same column with null for NaN and infinity, which no float of ours is."""
    if not pa.types.is_floating(values.type):
        return values
    return pc.if_else(pc.is_finite(values), values, pa.scalar(None, values.type))
