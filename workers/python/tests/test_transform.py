import datetime as dt
import math
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tidemill import transform, types

ROWS = pa.table({"x": pa.array([1.0, None, math.nan]), "name": pa.array(["a", None, "ü"])})


def test_a_function_is_given_what_is_there_and_what_it_makes_that_is_not_finite_is_null() -> None:
    seen = []

    def by_row(row: dict[str, Any]) -> dict[str, Any]:
        seen.append(row["x"])
        return {"y": row["x"], "z": math.inf}

    result = transform.run(by_row, "row", ROWS, {"y": "float", "z": "float"})
    assert seen[:2] == [1.0, None]
    assert math.isnan(seen[2])
    assert result.rows.to_pydict() == {"y": [1.0, None, None], "z": [None, None, None]}
    assert result.failures == []
    for batch in (
        lambda table: {"y": table.column("x"), "z": np.array([1.0, -np.inf, np.nan])},
        lambda table: pd.DataFrame({"y": table.column("x").to_pylist(), "z": [1.0, -math.inf, math.nan]}),
    ):
        result = transform.run(batch, "batch", ROWS, {"y": "float", "z": "float"})
        assert result.rows.to_pydict() == {"y": [1.0, None, None], "z": [1.0, None, None]}


def test_a_row_that_raises_fails_alone() -> None:
    def upper(row: dict[str, Any]) -> dict[str, Any]:
        return {"name": row["name"].upper()}

    result = transform.run(upper, "row", ROWS, {"name": "string"})
    assert result.rows.column("name").to_pylist() == ["A", None, "Ü"]
    [failure] = result.failures
    assert failure.row == 1
    assert failure.message.startswith("AttributeError: 'NoneType' object has no attribute 'upper' at tests/")
    assert "tidemill/transform.py" not in failure.traceback


def test_a_batch_that_raises_is_bisected() -> None:
    def strict(table: pa.Table) -> pa.Table:
        if table.column("n").to_pylist().count(3):
            raise ValueError("no threes")
        return table

    table = pa.table({"n": list(range(10))})
    result = transform.run(strict, "batch", table, {"n": "int"})
    assert result.rows.column("n").to_pylist() == [0, 1, 2, None, 4, 5, 6, 7, 8, 9]
    assert [(failure.row, failure.returned) for failure in result.failures] == [(3, False)]


def test_each_call_is_announced_before_it_begins() -> None:
    order: list[str] = []

    def strict(table: pa.Table) -> pa.Table:
        order.append(f"called with {len(table)}")
        if len(table) > 1:
            raise ValueError("one at a time")
        return table

    table = pa.table({"n": [1, 2]})
    transform.run(strict, "batch", table, {"n": "int"}, lambda: order.append("calling"))
    assert order == ["calling", "called with 2", "calling", "called with 1", "calling", "called with 1"]
    order.clear()
    transform.run(lambda row: row, "row", table, {"n": "int"}, lambda: order.append("calling"))
    assert order == ["calling", "calling"]


def test_a_row_that_ends_python_fails_alone() -> None:
    def leave(row: dict[str, Any]) -> dict[str, Any]:
        if row["n"] == 2:
            raise SystemExit("done")
        return row

    result = transform.run(leave, "row", pa.table({"n": [1, 2, 3]}), {"n": "int"})
    assert [failure.row for failure in result.failures] == [1]
    assert result.rows.column("n").to_pylist() == [1, None, 3]


def test_what_was_not_declared_is_told() -> None:
    cases: list[tuple[Any, str]] = [
        (None, "returned NoneType, expected a dict of y"),
        ({"z": 1}, "returned without `y`, undeclared `z`; the declared names are y"),
        ({"y": "text"}, "returned 'text' as `y`, expected int"),
        ({"y": 1.5}, "returned 1.5 as `y`, expected int"),
        ({"y": True}, "returned True as `y`, expected int"),
    ]
    for returned, message in cases:
        result = transform.run(lambda _, returned=returned: returned, "row", ROWS.slice(0, 1), {"y": "int"})
        assert [(failure.message, failure.returned) for failure in result.failures] == [(message, True)]


def test_days_and_instants_travel_as_themselves() -> None:
    moment = dt.datetime(2013, 6, 1, 4, tzinfo=dt.UTC)
    table = pa.table(
        {
            "day": pa.array([dt.date(2013, 6, 1)]),
            "at": pa.array([moment], types.ARROW["timestamp"]),
        }
    )

    def same(row: dict[str, Any]) -> dict[str, Any]:
        assert row == {"day": dt.date(2013, 6, 1), "at": moment}
        return {"day": row["day"], "at": pd.Timestamp(row["at"])}

    result = transform.run(same, "row", table, {"day": "date", "at": "timestamp"})
    assert result.rows == table


def test_pandas_sees_text_as_text_and_integers_as_integers() -> None:
    table = pa.table({"n": pa.array([1, None]), "b": pa.array([True, None]), "s": pa.array(["NA", None])})
    frame = types.to_pandas(table)
    assert [str(dtype) for dtype in frame.dtypes] == ["Int64", "boolean", "str"]
    result = transform.run(types.to_pandas, "batch", table, {"n": "int", "b": "bool", "s": "string"})
    assert result.rows == table
