"""The six column types in Arrow and pandas, so that text, days, instants and nulls keep their meaning."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

ARROW: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
"""Arrow's type of each of ours."""


def name_of(data_type: pa.DataType) -> str:
    """Our word for an Arrow type."""
    if pa.types.is_dictionary(data_type):
        return name_of(data_type.value_type)
    if pa.types.is_string(data_type) or pa.types.is_large_string(data_type):
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
    """Rows as pandas: text is `str`, days are `datetime.date`, instants are UTC.

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


def column(values: Any, name: str) -> pa.Array:
    """Python values as one of our types: `None`, `pd.NA` and `pd.NaT` are null, NaN stays NaN."""
    plain = [None if value is pd.NA or value is pd.NaT else value for value in values]
    if name == "int" and any(isinstance(value, float) for value in plain):
        raise pa.ArrowInvalid(f"expected int, got {next(v for v in plain if isinstance(v, float))!r}")
    if name == "string" and any(value is not None and not isinstance(value, str) for value in plain):
        raise pa.ArrowInvalid(f"expected string, got {next(v for v in plain if not isinstance(v, str))!r}")
    return pa.array(plain, type=ARROW[name], from_pandas=False)


def finite(values: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """The same column with null for NaN and infinity, which no float of ours is."""
    if not pa.types.is_floating(values.type):
        return values
    return pc.if_else(pc.is_finite(values), values, pa.scalar(None, values.type))
