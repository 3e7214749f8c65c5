import datetime as dt
import math
from decimal import Decimal
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


def test_what_a_library_raises_beside_exceptions_is_its_rows() -> None:
    class Panic(BaseException):
        pass

    def picky(row: dict[str, Any]) -> dict[str, Any]:
        if row["n"] == 3:
            raise Panic("not three")
        return row

    table = pa.table({"n": list(range(5))})
    result = transform.run(picky, "row", table, {"n": "int"})
    assert result.rows.column("n").to_pylist() == [0, 1, 2, None, 4]
    assert [failure.row for failure in result.failures] == [3]

    def picky_batch(table: pa.Table) -> pa.Table:
        return pa.Table.from_pylist([picky(row) for row in table.to_pylist()])

    result = transform.run(picky_batch, "batch", table, {"n": "int"})
    assert result.rows.column("n").to_pylist() == [0, 1, 2, None, 4]


def test_a_frame_that_was_sorted_is_matched_by_its_index() -> None:
    def ranked(table: pa.Table) -> pd.DataFrame:
        frame = table.to_pandas().sort_values("n", ascending=False)
        frame["y"] = frame["n"] * 10
        return frame[["y"]]

    table = pa.table({"n": [3, 1, 2]})
    assert transform.run(ranked, "batch", table, {"y": "int"}).rows.column("y").to_pylist() == [30, 10, 20]
    # An index of another meaning says nothing of the order.
    named = transform.run(lambda table: table.to_pandas().set_index(pd.Index([9, 8, 7])), "batch", table, {"n": "int"})
    assert named.rows.column("n").to_pylist() == [3, 1, 2]


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


UTC_PLUS_2 = dt.timezone(dt.timedelta(hours=2))
DAY = "a date, or a datetime at midnight without a zone"
YEARS = "a time of the years 1 to 9999 in UTC"


def test_no_value_is_taken_for_one_of_another_kind() -> None:
    early, noon = dt.datetime(1, 1, 1, tzinfo=UTC_PLUS_2), dt.datetime(2024, 5, 1, 12)
    aware, late = pd.Timestamp("2024-05-01T00:00Z"), np.datetime64("12024-05-01")
    cases: list[tuple[str, Any, str]] = [
        ("timestamp", 1714521600, "1714521600 as `v`, expected timestamp: a datetime"),
        ("timestamp", 1714521600.5, "1714521600.5 as `v`, expected timestamp: a datetime"),
        ("timestamp", np.int64(5), "np.int64(5) as `v`, expected timestamp: a datetime"),
        ("timestamp", "2024-05-01", "'2024-05-01' as `v`, expected timestamp: a datetime"),
        ("timestamp", True, "True as `v`, expected timestamp: a datetime"),
        ("date", 19844, f"19844 as `v`, expected date: {DAY}"),
        ("date", np.int64(5), f"np.int64(5) as `v`, expected date: {DAY}"),
        ("date", noon, f"{noon!r} as `v`, expected date: {DAY}"),
        ("date", aware, f"{aware!r} as `v`, expected date: {DAY}"),
        ("int", True, "True as `v`, expected int"),
        ("int", np.bool_(True), "np.True_ as `v`, expected int"),
        ("int", np.float32(1.5), "np.float32(1.5) as `v`, expected int"),
        ("float", True, "True as `v`, expected float"),
        ("float", "1.5", "'1.5' as `v`, expected float"),
        ("bool", 1, "1 as `v`, expected bool"),
        ("bool", "true", "'true' as `v`, expected bool"),
        ("string", 1, "1 as `v`, expected string"),
        ("string", b"a", "b'a' as `v`, expected string"),
        ("string", "a\0b", "'a\\x00b' as `v`, expected string: text without a NUL character"),
        ("string", "a\ud800", "'a\\ud800' as `v`, expected string"),
        ("timestamp", early, f"{early!r} as `v`, expected timestamp: {YEARS}"),
        ("timestamp", late, f"{late!r} as `v`, expected timestamp: a datetime"),
    ]
    rows = pa.table({"n": [0, 1, 2]})
    for ty, given, message in cases:
        result = transform.run(lambda row, v=given: {"v": v if row["n"] == 1 else None}, "row", rows, {"v": ty})
        assert [(f.row, f.message, f.returned) for f in result.failures] == [(1, f"returned {message}", True)], message
        assert result.rows == pa.table({"v": pa.nulls(3, types.ARROW[ty])})


def test_what_is_of_the_kind_is_taken() -> None:
    moment = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
    last = dt.datetime.max.replace(tzinfo=dt.UTC)
    cases: list[tuple[str, Any, Any]] = [
        ("timestamp", moment.replace(tzinfo=None), moment),
        ("timestamp", dt.datetime(2024, 5, 1, 2, tzinfo=UTC_PLUS_2), moment),
        ("timestamp", pd.Timestamp("2024-05-01T00:00:00.000000001"), moment),
        ("timestamp", np.datetime64("2024-05-01T00:00:00.000000001"), moment),
        ("timestamp", dt.date(2024, 5, 1), moment),
        ("timestamp", dt.datetime.min, dt.datetime.min.replace(tzinfo=dt.UTC)),
        ("timestamp", last, last),
        ("timestamp", pd.NaT, None),
        ("timestamp", np.datetime64("NaT"), None),
        ("date", moment.replace(tzinfo=None), dt.date(2024, 5, 1)),
        ("date", np.datetime64("2024-05-01"), dt.date(2024, 5, 1)),
        ("date", dt.date.max, dt.date.max),
        ("float", 1, 1.0),
        ("float", np.float32(0.5), 0.5),
        ("int", np.int8(5), 5),
        ("bool", np.bool_(True), True),
        ("string", pd.NA, None),
    ]
    for ty, given, expected in cases:
        result = transform.run(lambda _, v=given: {"v": v}, "row", pa.table({"n": [1]}), {"v": ty})
        assert (result.failures, result.rows.column("v").to_pylist()) == ([], [expected]), given


def test_of_a_table_no_column_is_taken_for_one_of_another_kind() -> None:
    moment = dt.datetime(2024, 5, 1)
    seconds = pa.timestamp("s")
    cases: list[tuple[str, Any, str]] = [
        ("timestamp", pa.array([1714521600]), "int64 as `v`, expected timestamp: a datetime"),
        ("timestamp", pa.array([1.5]), "double as `v`, expected timestamp: a datetime"),
        ("timestamp", pa.array(["2024-05-01T00:00:00Z"]), "string as `v`, expected timestamp: a datetime"),
        ("date", pa.array([19844], pa.int32()), f"int32 as `v`, expected date: {DAY}"),
        ("date", pa.array([moment.replace(hour=13)]), f"timestamp[us] as `v`, expected date: {DAY}"),
        ("date", pa.array([moment], types.ARROW["timestamp"]), f"timestamp[us, tz=UTC] as `v`, expected date: {DAY}"),
        ("date", pa.array([3_000_000], pa.int32()).cast(pa.date32()), f"date32[day] as `v`, expected date: {YEARS}"),
        (
            "timestamp",
            pa.array([-(10**11)]).cast(seconds),
            f"timestamp[s] as `v`, expected timestamp: {YEARS}",
        ),
        ("int", pa.array([True]), "bool as `v`, expected int"),
        ("int", pa.array(["1"]), "string as `v`, expected int"),
        ("float", pa.array([True]), "bool as `v`, expected float"),
        ("float", pa.array(["1.5"]), "string as `v`, expected float"),
        ("bool", pa.array([1]), "int64 as `v`, expected bool"),
        ("string", pa.array([1]), "int64 as `v`, expected string"),
        ("string", pa.array([b"a"]), "binary as `v`, expected string"),
        ("string", pa.array(["a\0b"]), "string as `v`, expected string: text without a NUL character"),
    ]
    rows = pa.table({"n": [0, 1, 2]})
    for ty, given, message in cases:

        def batch(table: pa.Table, given: Any = given) -> dict[str, Any]:
            nothing = pa.scalar(None, given.type)
            return {"v": pa.array([given[0] if n == 1 else nothing for n in table["n"].to_pylist()], given.type)}

        result = transform.run(batch, "batch", rows, {"v": ty})
        assert [(f.row, f.message, f.returned) for f in result.failures] == [(1, f"returned {message}", True)], message
        assert result.rows == pa.table({"v": pa.nulls(3, types.ARROW[ty])})


def test_of_a_table_what_is_of_the_kind_is_taken() -> None:
    moment = dt.datetime(2024, 5, 1)
    day, aware = moment.date(), moment.replace(tzinfo=dt.UTC)
    cases: list[tuple[str, Any, list[Any]]] = [
        ("timestamp", pd.to_datetime(["2024-05-01T00:00:00.000000001", None]), [aware, None]),
        ("timestamp", pd.Series([aware, None]).dt.tz_convert("America/New_York"), [aware, None]),
        ("timestamp", [day, None], [aware, None]),
        ("date", pd.to_datetime(["2024-05-01", None]), [day, None]),
        ("date", [day, None], [day, None]),
        ("int", [1.0, np.nan], [1, None]),
        ("float", [1, 2], [1.0, 2.0]),
        ("string", pd.Categorical(["a", None]), ["a", None]),
        ("string", [np.nan, np.nan], [None, None]),
        ("bool", [True, None], [True, None]),
        ("date", [None, None], [None, None]),
    ]
    for ty, given, expected in cases:
        frame = pd.DataFrame({"v": given})
        result = transform.run(lambda _, v=frame: v, "batch", pa.table({"n": [1, 2]}), {"v": ty})
        assert (result.failures, result.rows.column("v").to_pylist()) == ([], expected), (ty, given)


def test_pandas_sees_text_as_text_and_integers_as_integers() -> None:
    table = pa.table({"n": pa.array([1, None]), "b": pa.array([True, None]), "s": pa.array(["NA", None])})
    frame = types.to_pandas(table)
    assert [str(dtype) for dtype in frame.dtypes] == ["Int64", "boolean", "str"]
    result = transform.run(types.to_pandas, "batch", table, {"n": "int", "b": "bool", "s": "string"})
    assert result.rows == table


def test_lists_and_decimals_are_returned_exactly_or_refused() -> None:
    out = {"p": "decimal(9,2)", "e": "float[2]", "w": "string[]"}
    made: list[Any] = [
        (Decimal("1.5"), np.array([0.1, 2], np.float32), ("a", "b")),
        (7, [1, 2.5], []),
        (Decimal("NaN"), [math.inf, 1.0], None),
        (1.5, [1.0, 2.0], ["a"]),
        (Decimal("0.125"), [1.0, 2.0], ["a"]),
        (1, [1.0], ["a"]),
        (1, [1.0, None], ["a"]),
        (1, [1.0, 2.0], ["a\0"]),
        (1, [1.0, 2.0], "ab"),
    ]
    table = pa.table({"row": pa.array(range(len(made)))})

    def by_row(row: dict[str, Any]) -> dict[str, Any]:
        return dict(zip(out, made[row["row"]], strict=True))

    result = transform.run(by_row, "row", table, out)
    assert result.rows.schema == pa.schema([(name, types.arrow(ty)) for name, ty in out.items()])
    narrow = float(np.float32(0.1))
    assert result.rows.slice(0, 3).to_pydict() == {
        "p": [Decimal("1.50"), Decimal("7.00"), None],
        "e": [[narrow, 2.0], [1.0, 2.5], None],
        "w": [["a", "b"], [], None],
    }
    told = [(failure.row, failure.message) for failure in result.failures]
    digits, complete = "a decimal.Decimal or a whole number, with no more digits", "nothing is missing"
    assert told[0] == (3, f"returned 1.5 as `p`, expected decimal(9,2): {digits}")
    assert told[1] == (4, f"returned Decimal('0.125') as `p`, expected decimal(9,2): {digits}")
    assert told[2] == (5, "returned [1.0] as `e`, expected float[2]")
    assert told[3][0] == 6 and complete in told[3][1]
    assert told[4][0] == 7 and "NUL" in told[4][1]
    assert told[5][0] == 8 and complete in told[5][1]

    def batch(table: pa.Table) -> pd.DataFrame:
        rows = [made[row] for row in table.column("row").to_pylist()]
        return pd.DataFrame({name: pd.Series([row[at] for row in rows], dtype=object) for at, name in enumerate(out)})

    same = transform.run(batch, "batch", table.slice(0, 3), out)
    assert same.failures == []
    assert same.rows.to_pydict() == result.rows.slice(0, 3).to_pydict()
    given = [failure.row for failure in transform.run(batch, "batch", table.slice(3), out).failures]
    assert given == list(range(len(made) - 3))
