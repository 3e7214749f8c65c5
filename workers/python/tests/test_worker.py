import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tidemill
from tidemill.protocol import Channel

SOURCE = str(Path(tidemill.__file__).parents[1])

Ask = Callable[[str], dict[str, Any]]
"""Runs a step of the given body, and gives the last thing that the worker says of it."""


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Ask]:
    """A worker like Tidemill's, which stays for one step after the other."""
    ours, theirs = socket.socketpair()
    ours.settimeout(60)
    command = [sys.executable, "-P", "-m", "tidemill.guard", "--code", str(tmp_path)]
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(
            command,
            stdin=theirs.fileno(),
            stdout=log,
            stderr=log,
            env={"PYTHONPATH": SOURCE, "PYTHONDONTWRITEBYTECODE": "1"},
        )
    theirs.close()
    channel = Channel(ours)
    assert channel.receive().header["type"] == "hello"
    asked = 0

    def ask(body: str) -> dict[str, Any]:
        nonlocal asked
        asked += 1
        lines = "\n".join(f"    {line}" for line in body.splitlines())
        (tmp_path / f"step{asked}.py").write_text(f"import os, pickle\n\n\ndef f(ctx, dataset, out):\n{lines}\n")
        head: dict[str, Any] = {"params": {}, "dataset": None, "out": str(tmp_path), "checkpoint": None}
        channel.send({"type": "step", "entry": f"step{asked}:f", **head})
        while True:
            said = channel.receive().header
            if said["type"] in ("done", "raised"):
                return said
            if said["type"] != "log":
                channel.send({"type": "ack"})

    yield ask
    ours.close()
    worker.wait(60)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('return pickle.loads(b"")', "EOFError: Ran out of input at step1.py:5"),
        ("return input()", "EOFError: EOF when reading a line at step1.py:5"),
        ("raise BrokenPipeError(32, 'Broken pipe')", "BrokenPipeError: [Errno 32] Broken pipe at step1.py:5"),
        ("raise ConnectionResetError('theirs')", "ConnectionResetError: theirs at step1.py:5"),
    ],
)
def test_what_user_code_raises_is_never_the_end_of_our_channel(ask: Ask, body: str, message: str) -> None:
    said = ask(body)
    assert (said["type"], said.get("kind"), said.get("message")) == ("raised", "raised", message)
    assert 'File "step1.py", line 5, in f' in said["traceback"]
    assert ask("return {'again': 1}")["outputs"] == {"again": 1}


FORKS = """
if os.fork() == 0:
    {child}
os.wait()
return {{"who": "parent"}}
""".strip()


@pytest.mark.parametrize(
    ("child", "told"),
    [
        ("return {'who': 'child'}", ""),
        ("raise ValueError('in the child')", 'File "step1.py", line 6, in f'),
        ("raise SystemExit(3)", ""),
    ],
)
def test_a_child_never_answers_in_our_place(ask: Ask, tmp_path: Path, child: str, told: str) -> None:
    said = ask(FORKS.format(child=child))
    assert (said["type"], said.get("outputs")) == ("done", {"who": "parent"})
    assert ask("return {'again': 1}")["outputs"] == {"again": 1}
    log = (tmp_path / "log").read_text()
    assert told in log
    assert bool(told) == bool(log)


@pytest.mark.parametrize("call", ["checkpoint({'tree': 1})", "log_params({'a': 1})", "log_metrics({'a': 1})"])
def test_a_child_never_talks_in_our_place(ask: Ask, tmp_path: Path, call: str) -> None:
    said = ask(FORKS.format(child=f"ctx.{call}"))
    assert (said["type"], said.get("outputs")) == ("done", {"who": "parent"})
    method = call.partition("(")[0]
    told = f"RuntimeError: ctx.{method} was called in a process forked from the step; return the value to the process"
    assert told in (tmp_path / "log").read_text()
    assert ask("return {'again': 1}")["outputs"] == {"again": 1}


def test_what_a_child_ends_with_is_its_parents_to_see(ask: Ask, tmp_path: Path) -> None:
    ends = ["return {}", "raise ValueError('no')", "raise SystemExit", "raise SystemExit(3)", "raise SystemExit('why')"]
    body = ["print('before', end=' ')", "codes = []"]
    for end in ends:
        body += ["if os.fork() == 0:", f"    {end}", "codes.append(os.waitstatus_to_exitcode(os.wait()[1]))"]
    assert ask("\n".join([*body, "return {'codes': codes}"]))["outputs"] == {"codes": [0, 1, 0, 3, 1]}
    assert (tmp_path / "log").read_text().count("before") == 1


def test_an_exception_that_cannot_speak_costs_no_process(ask: Ask) -> None:
    mute = "class Mute(Exception):\n    def __str__(self):\n        raise ValueError\nraise Mute"
    said = ask(mute)
    message = "Mute: (its text can't be read: ValueError) at step1.py:8"
    assert (said["type"], said.get("kind"), said.get("message")) == ("raised", "raised", message)
    assert ask("return {'again': 1}")["outputs"] == {"again": 1}


def test_what_a_step_returns_costs_no_training(ask: Ask, tmp_path: Path) -> None:
    cases = [
        ("return [1, 0.5]", {"result": [1, 0.5]}),
        ("return 0.5", {"result": 0.5}),
        ("import decimal\nreturn {'auc': decimal.Decimal('0.5'), (1, 2): {3}}", {"auc": 0.5, "(1, 2)": [3]}),
        ("return {'bytes': b'x'}", {"bytes": "b'x'"}),
        ("import types\nreturn types.MappingProxyType({'a': 1})", {"a": 1}),
        ("return None", None),
    ]
    for body, outputs in cases:
        said = ask(body)
        assert (said["type"], said.get("outputs")) == ("done", outputs)
    assert (tmp_path / "log").read_text().splitlines() == [
        "warning: the function returned a list, not a dict; kept as outputs.result",
        "warning: the function returned a float, not a dict; kept as outputs.result",
        "warning: outputs.bytes is a bytes; kept as text",
    ]
    said = ask("return {'text': 'x' * (17 << 20)}")
    assert said["message"] == "returned more than 16 MiB of JSON; write it to a file in `out`"
