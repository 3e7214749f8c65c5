import dataclasses
import datetime as dt
import json
import math
import socket
import threading
import types
from collections import deque
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tidemill import Context, Dataset
from tidemill.errors import headline, traceback_of
from tidemill.protocol import HEADER_BYTES_MAX, Channel, plain, to_json
from tidemill.step import kept


class Booster:
    def __repr__(self) -> str:
        return "<Booster>" * 100


class Mute:
    def __repr__(self) -> str:
        raise ValueError

    def __getattr__(self, name: str) -> Any:
        raise ValueError(name)


@dataclasses.dataclass
class Score:
    auc: Decimal
    model: Booster


def test_what_has_a_plain_meaning_keeps_it() -> None:
    changed: list[str] = []
    day, moment = dt.date(2013, 6, 1), dt.datetime(2013, 6, 1, 4, 30, tzinfo=dt.UTC)
    cases: list[tuple[Any, Any]] = [
        (np.int64(3), 3),
        (np.array([1.5, 2.0]), [1.5, 2.0]),
        (np.array(["2013-06-01T04:30"], "datetime64[ns]"), ["2013-06-01T04:30:00"]),
        (np.datetime64("NaT"), None),
        (pd.Series([1, 2]), [1, 2]),
        (pd.Timestamp(moment), "2013-06-01T04:30:00+00:00"),
        (pa.scalar(1.5), 1.5),
        (pa.array([1, None]), [1, None]),
        (Decimal("0.75"), 0.75),
        (Decimal("9007199254740993"), 9007199254740993),
        (day, "2013-06-01"),
        (moment, "2013-06-01T04:30:00+00:00"),
        (dt.time(4, 30), "04:30:00"),
        (Path("a/b"), "a/b"),
        ({"b", "a"}, ["a", "b"]),
        (frozenset([2, 1]), [1, 2]),
        ((1, (2,)), [1, [2]]),
        (deque([1]), [1]),
        (range(2), [0, 1]),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        ({1: "a", None: "b", False: "c"}, {"1": "a", "null": "b", "false": "c"}),
        ({(1, "AA"): 1, (np.int64(2), None): 2}, {"(1, AA)": 1, "(2, null)": 2}),
        ({day: 1, np.float64(0.5): 2, Decimal("0.1"): 3}, {"2013-06-01": 1, "0.5": 2, "0.1": 3}),
    ]
    for given, expected in cases:
        assert json.dumps(plain(given, changed)) == json.dumps(expected)
    assert changed == []


def test_what_has_none_is_kept_as_text_and_told() -> None:
    changed: list[str] = []
    given = {
        "model": Booster(),
        "mute": Mute(),
        "class": Booster,
        "bytes": b"\x00" * 10_000_000,
        "took": dt.timedelta(seconds=90),
        "mixed": [{"a", 1}, 1j],
        "score": Score(Decimal("0.5"), Booster()),
        "gone": [Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity"), Decimal("1e400")],
        "vast": [10**30, 10**10_000, Decimal("1e30")],
        Booster: 1,
        "1": "a",
        1: "b",
    }
    result = plain(given, changed, "outputs")
    booster = ("<Booster>" * 100)[:200] + " …"
    assert result["model"] == booster
    assert result["score"] == {"auc": 0.5, "model": booster}
    assert result["mute"] == "<Mute, which can't be shown: ValueError>"
    assert result["bytes"].startswith("b'\\x00\\x00")
    assert len(result["bytes"]) == 202
    assert result["took"] == "datetime.timedelta(seconds=90)"
    assert sorted(map(str, result["mixed"][0])) == ["1", "a"]
    assert result["mixed"][1] == "1j"
    assert result["gone"] == [None] * 4
    assert result["vast"][:2] == [str(10**30), hex(10**10_000)[:200] + " …"]
    assert result["vast"][2] == 1e30
    assert result["1"] == "b"
    assert json.loads(to_json(result)) == result
    assert changed == [
        "outputs.model is a Booster; kept as text",
        "outputs.mute is a Mute; kept as text",
        "outputs.class is a type; kept as text",
        "outputs.bytes is a bytes; kept as text",
        "outputs.took is a timedelta; kept as text",
        "outputs.mixed[1] is a complex; kept as text",
        "outputs.score.model is a Booster; kept as text",
        "outputs.gone[0] is not a finite number (nan); kept as null",
        "outputs.gone[1] is not a finite number (nan); kept as null",
        "outputs.gone[2] is not a finite number (-inf); kept as null",
        "outputs.gone[3] is not a finite number (inf); kept as null",
        "outputs.vast[0] is beyond 64 bits; kept as text",
        "outputs.vast[1] is beyond 64 bits; kept as text",
        "a name in outputs is a type; kept as text",
        "outputs has the name 1 twice; kept the last",
    ]


def test_what_has_no_end_or_is_too_deep_is_kept_as_text() -> None:
    endless: list[Any] = []
    endless += [endless, {"again": endless}]
    changed: list[str] = []
    assert plain({"x": endless}, changed, "outputs")["x"] == [
        "[[...], {'again': [...]}]",
        {"again": "[[...], {'again': [...]}]"},
    ]
    assert changed[0] == "outputs.x[0] is within itself; kept as text"
    shared = [1]
    assert plain([shared, shared]) == [[1], [1]]
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    kept = plain(deep, changed, "outputs")
    assert "more than 100 lists and maps deep; kept as text" in changed[-1]
    assert json.loads(to_json({"outputs": kept}))["outputs"] == kept


def test_what_json_cannot_hold_is_replaced_and_told_with_its_place() -> None:
    changed: list[str] = []
    given = {
        "auc": math.nan,
        "curve": np.array([1.0, -math.inf]),
        "name\0": "a\0b\ud800",
        "rows": 2**63,
        "wide": np.longdouble("nan"),
        "gone": [pd.NA, pd.NaT, None],
        "kept": [np.float32(0.5), 2**63 - 1, True, np.bool_(False), "\u00e9\U0001f30a"],
    }
    assert plain(given, changed, "outputs") == {
        "auc": None,
        "curve": [1.0, None],
        "name\ufffd": "a\ufffdb\ufffd",
        "rows": "9223372036854775808",
        "wide": None,
        "gone": [None, None, None],
        "kept": [0.5, 2**63 - 1, True, False, "\u00e9\U0001f30a"],
    }
    assert changed == [
        "outputs.auc is not a finite number (nan); kept as null",
        "outputs.curve[1] is not a finite number (-inf); kept as null",
        "outputs holds NUL or half a character; kept with U+FFFD in its place",
        "outputs.name\ufffd holds NUL or half a character; kept with U+FFFD in its place",
        "outputs.rows is beyond 64 bits; kept as text",
        "outputs.wide is not a finite number (nan); kept as null",
    ]


def test_the_log_warns_of_what_was_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    assert kept("checkpoint", [math.inf] * 12) == [None] * 12
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "warning: checkpoint[0] is not a finite number (inf); kept as null"
    assert told[10:] == ["warning: 2 more values of checkpoint were replaced"]


def test_metrics_are_numbers_and_nan_is_null() -> None:
    sent: list[dict[str, Any]] = []
    ctx = Context({}, None, sent.append)
    ctx.log_metrics({"auc": np.float64(0.5), "loss": math.nan, "none": None, "vast": 10**400})  # type: ignore[dict-item]
    assert sent == [{"type": "metrics", "values": {"auc": 0.5, "loss": None, "none": None, "vast": None}}]
    sent.clear()
    ctx.log_metrics({"auc": "good", "by": {"AA": Decimal("0.5")}, 1: np.float32(0.5)})  # type: ignore[dict-item]
    assert sent == [{"type": "metrics", "values": {"auc": "good", "by": {"AA": 0.5}, "1": 0.5}}]


def test_a_checkpoint_is_the_last_one_at_once() -> None:
    sent: list[dict[str, Any]] = []
    ctx = Context({"days": 1}, {"tree": 1}, sent.append)
    ctx.checkpoint({"tree": 2})
    assert (ctx.last_checkpoint, ctx.params, sent) == (
        {"tree": 2},
        {"days": 1},
        [{"type": "checkpoint", "value": {"tree": 2}}],
    )
    ctx.checkpoint({"booster": Booster, "seen": {1}})
    assert ctx.last_checkpoint == {"booster": repr(Booster), "seen": [1]}


def test_frames_of_many_threads_never_mix() -> None:
    ours, theirs = socket.socketpair()
    sender, receiver = Channel(ours), Channel(theirs)
    lines = [str(number) * 100_000 for number in range(8)]
    threads = [threading.Thread(target=sender.send, args=({"line": line},)) for line in lines]
    for thread in threads:
        thread.start()
    got = [receiver.receive().header["line"] for _ in lines]
    assert sorted(got) == lines


def test_a_dataset_keeps_text_nulls_days_and_nan(tmp_path: Path) -> None:
    moment = dt.datetime(2013, 6, 1, 4, tzinfo=dt.UTC)
    table = pa.table(
        {
            "code": pa.array(["007", None]),
            "n": pa.array([1, None]),
            "x": pa.array([math.nan, None]),
            "day": pa.array([dt.date(2013, 6, 1), None]),
            "at": pa.array([moment, None], pa.timestamp("us", tz="UTC")),
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    dataset = Dataset([tmp_path / "rows.parquet"], {"code": "string", "n": "int"})
    arrow = dataset.to_arrow()
    assert arrow.column("x").null_count == 1
    assert arrow.drop_columns("x") == table.drop_columns("x")
    frame = dataset.to_pandas()
    assert frame["code"][0] == "007"
    assert frame["n"].dtype == pd.Int64Dtype()
    assert (frame["day"][0], frame["at"][0]) == (dt.date(2013, 6, 1), pd.Timestamp(moment))
    assert frame.drop(columns="x").isna().iloc[1].all()
    categorical = dataset.to_pandas(categorical=True)
    assert list(categorical["code"].cat.categories) == ["007"]


def test_a_traceback_has_the_authors_frames_and_the_cause() -> None:
    def read() -> None:
        try:
            json.loads("{")
        except ValueError as error:
            raise RuntimeError("the settings can't be read") from error

    with pytest.raises(RuntimeError) as caught:
        read()
    told = traceback_of(caught.value)
    assert "JSONDecodeError" in told
    assert told.endswith("RuntimeError: the settings can't be read")
    assert "json/decoder.py" not in told


def test_a_frame_of_ours_is_not_the_authors_line() -> None:
    def send(event: Any) -> None:
        Channel(socket.socket()).send({"event": event, "size": "x" * HEADER_BYTES_MAX})

    ctx = Context({}, None, send)
    with pytest.raises(ValueError, match="MiB of JSON") as caught:
        ctx.checkpoint({"tree": 1})
    assert "at tests/test_step.py:" in headline(caught.value)
    assert "protocol.py" not in traceback_of(caught.value)


def test_of_a_group_its_parts_are_told() -> None:
    def fold(number: int) -> None:
        raise ValueError(f"fold {number} has no rows")

    def train() -> None:
        raised: list[Exception] = []
        for number in range(12):
            try:
                fold(number)
            except ValueError as error:
                raised.append(error)
        raise ExceptionGroup("training failed", [ExceptionGroup("folds", raised), KeyError("tailnum")])

    with pytest.raises(ExceptionGroup) as caught:
        train()
    said = headline(caught.value)
    expected = (
        "ExceptionGroup: training failed (2 sub-exceptions): ExceptionGroup: folds (12 sub-exceptions): "
        "ValueError: fold 0 has no rows at tests/test_step.py:"
    )
    assert said.startswith(expected)
    told = traceback_of(caught.value)
    assert "in train\n" in told
    assert "in fold\n" in told
    assert "part 2 of 12:\n\n" in told
    assert "ValueError: fold 1 has no rows" in told
    assert told.endswith("part 2 of 2:\n\n  KeyError: 'tailnum'")


def test_an_exception_that_cannot_speak_or_has_no_end_is_told() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise ValueError("not a word")

        __repr__ = __str__

    said = MuteError()
    assert headline(said) == "MuteError: (its text can't be read: ValueError)"
    assert traceback_of(said).endswith("MuteError: <exception str() failed>")
    circle = ValueError("its own cause")
    circle.__cause__ = circle
    assert traceback_of(circle) == "ValueError: its own cause"
    last = ValueError("0")
    for number in range(1, 5000):
        further = ValueError(str(number))
        further.__cause__ = last
        last = further
    assert traceback_of(last).endswith("ValueError: 4999")
