"""The process that runs user code for Tidemill, with its socket as stdin; `tidemill.guard` starts it.

One loop: take a request, run it, answer. Everything it prints goes to the log of the step or update. It ends when
the socket does; while user code runs, its guard ends it, with everything it started.
"""

from __future__ import annotations

import argparse
import importlib
import io
import mmap
import os
import platform
import resource
import socket
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from tidemill import errors, transform
from tidemill.errors import EntryError, ReturnedError, headline, traceback_of
from tidemill.models import ModelError, bare, predictors
from tidemill.protocol import PROTOCOL, Channel, Frame, decode, to_json
from tidemill.step import Context, Dataset

_TAKEN = sys.stdlib_module_names | {"tidemill"}
"""A project's module of such a name is never found: `import` gives the other one."""


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
    sys.stdout = sys.stderr = _Lines(worker.log)
    channel.send({"type": "hello", "protocol": PROTOCOL, "python": platform.python_version(), "pid": os.getpid()})
    try:
        while True:
            worker.serve(channel.receive())
    except (EOFError, OSError):
        return


class Worker:
    """Runs one request after the other."""

    def __init__(self, channel: Channel, calling: Callable[[], None]) -> None:
        self._channel = channel
        self._calling = calling
        self._entries: dict[str, Callable[..., Any]] = {}
        self._model: predictors.Predictor | None = None
        self._logging = False
        self._requests: dict[str, Callable[[Frame], None]] = {
            "transform": self._transform,
            "step": self._step,
            "load_model": self._load_model,
            "predict": self._predict,
        }

    def serve(self, frame: Frame) -> None:
        """Answers one request: `done`, or `raised` with why not."""
        try:
            self._requests[frame.header["type"]](frame)
        except (EOFError, BrokenPipeError):
            raise
        except BaseException as error:
            kind = _kind_of(error)
            message = str(error) if kind in ("entry", "returned") else headline(error)
            cause = error.__cause__ if kind == "entry" and error.__cause__ else error
            self._flush()
            self._channel.send({"type": "raised", "kind": kind, "message": message, "traceback": traceback_of(cause)})

    def log(self, line: str) -> None:
        """Sends one printed line to the log of the step or update that runs; between requests nobody listens."""
        if self._logging:
            self._channel.send({"type": "log", "line": line})

    def _transform(self, frame: Frame) -> None:
        head = frame.header
        self._logging = True
        try:
            function = self._entry(head["entry"])
            result = transform.run(function, head["mode"], decode(frame.body), head["out"], self._calling)
        finally:
            self._flush()
            self._logging = False
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
        self._logging = True
        try:
            outputs = self._entry(head["entry"])(ctx, dataset, out)
            if outputs is not None and not isinstance(outputs, dict):
                raise ReturnedError(f"returned {type(outputs).__name__}, expected a dict or nothing")
            _check_json(outputs)
            if dataset is not None:
                bare.wrap(out, dataset)
        except BaseException as error:
            print(traceback_of(error))
            raise
        finally:
            self._flush()
            self._logging = False
        self._channel.send({"type": "done", "outputs": outputs})

    def _load_model(self, frame: Frame) -> None:
        self._model = predictors.load(Path(frame.header["folder"]))
        self._channel.send({"type": "done"})

    def _predict(self, frame: Frame) -> None:
        if self._model is None:
            raise EntryError("no model is loaded")
        self._channel.send({"type": "done"}, self._model.predict(decode(frame.body)))

    def _entry(self, entry: str) -> Callable[..., Any]:
        if entry not in self._entries:
            self._entries[entry] = load_entry(entry)
        return self._entries[entry]

    def _durably(self, event: dict[str, Any]) -> None:
        self._flush()
        self._channel.send(event)
        self._channel.receive()

    @staticmethod
    def _flush() -> None:
        sys.stdout.flush()


def load_entry(entry: str) -> Callable[..., Any]:
    """The function that `module:function` names."""
    module_name, _, name = entry.partition(":")
    package = module_name.partition(".")[0]
    if package in _TAKEN:
        raise EntryError(f"`{package}` is the name of a module of Python or Tidemill: rename the project's `{package}`")
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


class _Lines(io.TextIOBase):
    """A text stream that hands on whole lines."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take
        self._open = ""
        self._lock = threading.RLock()

    def write(self, text: str) -> int:
        """Takes text; lines go on as they are complete."""
        with self._lock:
            *lines, self._open = (self._open + text).split("\n")
            for line in lines:
                self._take(line)
        return len(text)

    def flush(self) -> None:
        """Hands on what has no line end yet."""
        with self._lock:
            if self._open:
                self._take(self._open)
                self._open = ""

    def writable(self) -> bool:
        """Yes."""
        return True


def _kind_of(error: BaseException) -> str:
    if isinstance(error, MemoryError | pa.ArrowMemoryError):
        return "memory"
    if isinstance(error, EntryError):
        return "entry"
    return "returned" if isinstance(error, ReturnedError | ModelError) else "raised"


def _check_json(outputs: Any) -> None:
    try:
        to_json(outputs)
    except (TypeError, ValueError) as error:
        raise ReturnedError(f"returned what can't be kept: {error}") from None


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
