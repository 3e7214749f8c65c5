"""The process that runs user code for Tidemill, with its socket as stdin; `tidemill.guard` starts it.

One loop: take a request, run it, answer. What it prints goes to standard output and error, real files which Tidemill
reads for the log of the step or update. It ends when the socket does; while user code runs, its guard ends it, with
everything it started.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import mmap
import os
import platform
import resource
import socket
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pyarrow as pa

from tidemill import errors, transform
from tidemill.errors import EntryError, ReturnedError, headline, text_of, traceback_of
from tidemill.models import ModelError, bare, file, predictors
from tidemill.protocol import PROTOCOL, Channel, Closed, Frame, decode, to_json
from tidemill.step import Context, Dataset, kept

P = ParamSpec("P")
R = TypeVar("R")

OUTPUTS_BYTES_MAX = 16 << 20
"""Outputs of a step are read by the steps after it, and shown to people."""

_TAKEN = dict.fromkeys([*sys.stdlib_module_names, "test"], "Python") | {"tidemill": "Tidemill"}
"""Whose each name is. A project's module of such a name is never found: `import` gives the other one."""

_MESSAGE_MAX = 2_000
_TRACEBACK_MAX = 50_000
"""Characters that are told of what was raised."""


def main() -> None:
    """Serves requests until the other side is gone."""
    parser = argparse.ArgumentParser(prog="tidemill.worker")
    parser.add_argument("--code", type=Path, help="put on sys.path, after Python's own modules")
    parser.add_argument("--memory-bytes", type=int, default=0, help="beyond what an idle process uses")
    parser.add_argument("--calls", type=Path, help="where calls of a transform's function are counted")
    options = parser.parse_args()

    sock = _take_socket()
    if options.code:
        _add_to_path(options.code)
        errors.project = options.code
    if options.memory_bytes:
        _limit_memory(options.memory_bytes)
    channel = Channel(sock)
    worker = Worker(channel, _counter(options.calls) if options.calls else lambda: None)
    sys.stdout, sys.stderr = _stream(1), _stream(2)
    channel.send({"type": "hello", "protocol": PROTOCOL, "python": platform.python_version(), "pid": os.getpid()})
    try:
        while True:
            worker.serve(channel.receive())
    except Closed:
        return


class Worker:
    """Runs one request after the other."""

    def __init__(self, channel: Channel, calling: Callable[[], None]) -> None:
        self._channel = channel
        self._calling = calling
        self._entries: dict[str, Callable[..., Any]] = {}
        self._model: predictors.Predictor | None = None
        self._requests: dict[str, Callable[[Frame], None]] = {
            "transform": self._transform,
            "step": self._step,
            "wrap": self._wrap,
            "load_model": self._load_model,
            "predict": self._predict,
        }

    def serve(self, frame: Frame) -> None:
        """Answers one request: `done`, or `raised` with why not."""
        try:
            self._requests[frame.header["type"]](frame)
        except Closed:
            raise
        except BaseException as error:
            kind = _kind_of(error)
            message = text_of(error) if kind in ("entry", "returned") else headline(error)
            cause = error.__cause__ if kind == "entry" and error.__cause__ else error
            _flush()
            told = {"message": _cut(message, _MESSAGE_MAX), "traceback": _cut(traceback_of(cause), _TRACEBACK_MAX)}
            self._channel.send({"type": "raised", "kind": kind, **told})

    def _transform(self, frame: Frame) -> None:
        head = frame.header
        try:
            function = self._entry(head["entry"])
            result = transform.run(function, head["mode"], decode(frame.body), head["out"], self._calling)
        finally:
            _flush()
        self._channel.send(
            {"type": "done", "failures": [failure._asdict() for failure in result.failures]}, result.rows
        )

    def _step(self, frame: Frame) -> None:
        head, out = frame.header, Path(frame.header["out"])
        dataset = None
        if head["dataset"]:
            told = dict(head["dataset"])
            dataset = Dataset([Path(file) for file in told.pop("files")], **told)
        ctx = Context(head["params"], head["checkpoint"], self._durably)
        try:
            outputs = _outputs(self._entry(head["entry"])(ctx, dataset, out))
            if dataset is not None:
                bare.wrap(out, dataset)
        except BaseException as error:
            _flush()
            # A line of its own, whatever a progress bar has left open.
            for line in traceback_of(error).splitlines():
                self._channel.send({"type": "log", "line": line})
            raise
        _flush()
        self._channel.send({"type": "done", "outputs": outputs})

    def _wrap(self, frame: Frame) -> None:
        head, out = frame.header, Path(frame.header["out"])
        told = dict(head["dataset"])
        rows = [Path(file) for file in told.pop("files")]
        try:
            if head["sample"]:
                rows = [_here(file.read_sample)(rows[0], told["inputs"], out.parent / "sample.parquet")]
            _here(file.wrap_file)(Path(head["given"]), out, head["flavor"], Dataset(rows, **told))
        finally:
            _flush()
        self._channel.send({"type": "done"})

    def _load_model(self, frame: Frame) -> None:
        self._model = _here(predictors.load)(Path(frame.header["folder"]))
        _flush()
        self._channel.send({"type": "done"})

    def _predict(self, frame: Frame) -> None:
        if self._model is None:
            raise EntryError("no model is loaded")
        predicted = _here(self._model.predict)(decode(frame.body))
        _flush()
        self._channel.send({"type": "done"}, predicted)

    def _entry(self, entry: str) -> Callable[..., Any]:
        if entry not in self._entries:
            self._entries[entry] = _here(_here(load_entry)(entry))
        return self._entries[entry]

    def _durably(self, event: dict[str, Any]) -> None:
        _flush()
        self._channel.send(event)
        self._channel.receive()


def _here(function: Callable[P, R]) -> Callable[P, R]:
    """The function. A child that it forks ends where it comes back: it must not go on, or answer, in our place."""

    def called(*arguments: P.args, **named: P.kwargs) -> R:
        own = os.getpid()
        try:
            returned = function(*arguments, **named)
        except BaseException as error:
            if os.getpid() != own:
                os._exit(_status_of(error))
            raise
        if os.getpid() != own:
            os._exit(0)
        return returned

    return called


def _status_of(error: BaseException) -> int:
    """The exit code of a child that ends by an exception, which is written to the log as Python writes it."""
    if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
        return (error.code or 0) & 0xFF
    # Not by way of `sys.stderr`: what that holds is its parent's.
    os.write(2, f"{traceback_of(error)}\n".encode(errors="backslashreplace"))
    return 1


def load_entry(entry: str) -> Callable[..., Any]:
    """The function that `module:function` names."""
    module_name, _, name = entry.partition(":")
    package = module_name.partition(".")[0]
    if package in _TAKEN:
        raise EntryError(f"module `{package}` is {_TAKEN[package]}'s own; rename the project's file")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise EntryError(headline(error)) from error
    function = getattr(module, name, None)
    if not callable(function):
        raise EntryError(f"module `{module_name}` has no function `{name}`")
    return function  # type: ignore[no-any-return]


def _add_to_path(code: Path) -> None:
    """Puts the project before installed packages, and after Python's own: its `random.py` is not everybody's."""
    installed = {path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")}
    place = next((place for place, path in enumerate(sys.path) if path in installed), len(sys.path))
    sys.path.insert(place, str(code))


def _stream(descriptor: int) -> io.TextIOWrapper:
    """Standard output or error, written a line at a time; text that is none is written escaped."""
    file = os.fdopen(descriptor, "wb", closefd=False)
    return io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def _flush() -> None:
    """Hands on what was printed so far, before anything else is said."""
    for stream in (sys.stdout, sys.stderr):
        # User code may have put something else in their place, or closed them.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()


def _outputs(returned: Any) -> dict[str, Any] | None:
    """What a step's function returned, as it is kept; what has no names is named `result`."""
    if returned is None:
        return None
    if not isinstance(returned, Mapping):
        print(f"warning: the function returned a {type(returned).__name__}, not a dict; kept as outputs.result")
        returned = {"result": returned}
    outputs: dict[str, Any] = kept("outputs", returned)
    if len(to_json(outputs)) > OUTPUTS_BYTES_MAX:
        raise ReturnedError(f"returned more than {OUTPUTS_BYTES_MAX >> 20} MiB of JSON; write it to a file in `out`")
    return outputs


def _cut(text: str, longest: int) -> str:
    """The text, or its beginning: an exception may say anything, at any length."""
    return text if len(text) <= longest else f"{text[:longest]} … ({len(text) - longest:,} more characters)"


def _kind_of(error: BaseException) -> str:
    if isinstance(error, MemoryError | pa.ArrowMemoryError):
        return "memory"
    if isinstance(error, EntryError):
        return "entry"
    return "returned" if isinstance(error, ReturnedError | ModelError) else "raised"


def _counter(path: Path) -> Callable[[], None]:
    """Counts calls where Tidemill can read it whatever this process is doing; Tidemill sets it back to 0."""
    with path.open("r+b") as file:
        page = mmap.mmap(file.fileno(), 8)
    count = struct.Struct("<Q")

    def calling() -> None:
        count.pack_into(page, 0, count.unpack_from(page)[0] + 1)

    return calling


def _take_socket() -> socket.socket:
    """The socket that came as stdin, moved away so that user code reading stdin finds it empty."""
    sock = socket.socket(fileno=os.dup(0))
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.set_inheritable(sock.fileno(), False)
    return sock


def _limit_memory(beyond_bytes: int) -> None:
    """Lets an allocation that is too much fail with a traceback; Tidemill watches the rest from outside."""
    statm = Path("/proc/self/statm").read_text().split()
    data_bytes = int(statm[5]) * resource.getpagesize()
    limit = data_bytes + beyond_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
