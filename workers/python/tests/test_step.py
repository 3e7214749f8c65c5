import datetime as dt
import json
import math
import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tidemill import Context, Dataset
from tidemill.errors import headline, traceback_of
from tidemill.protocol import Channel, plain, to_json
from tidemill.step import kept


def test_what_is_given_to_a_context_is_json_or_refused() -> None:
    class Booster:
        pass

    given = {"tree": np.int64(3), "curve": np.array([1.5, 2.0]), "day": dt.date(2013, 6, 1), "file": Path("a/b")}
    assert json.loads(to_json(given)) == {"tree": 3, "curve": [1.5, 2.0], "day": "2013-06-01", "file": "a/b"}
    with pytest.raises(TypeError, match="Booster is not JSON"):
        to_json({"booster": Booster()})
    with pytest.raises(TypeError, match="a name is text, not tuple"):
        to_json({(1, 2): "pair"})
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="more than 100 deep"):
        to_json(endless)


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
    with pytest.raises(ValueError, match="could not convert"):
        ctx.log_metrics({"auc": "good"})  # type: ignore[dict-item]


def test_a_checkpoint_is_the_last_one_at_once() -> None:
    sent: list[dict[str, Any]] = []
    ctx = Context({"days": 1}, {"tree": 1}, sent.append)
    ctx.checkpoint({"tree": 2})
    assert (ctx.last_checkpoint, ctx.params, sent) == (
        {"tree": 2},
        {"days": 1},
        [{"type": "checkpoint", "value": {"tree": 2}}],
    )


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
    ctx = Context({}, None, lambda event: print(to_json(event)))
    with pytest.raises(TypeError) as caught:
        ctx.checkpoint({"booster": object()})
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
