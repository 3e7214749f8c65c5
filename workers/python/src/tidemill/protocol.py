"""Frames between Tidemill and this process: lengths, a JSON header, an Arrow IPC body.

A frame is two little-endian u32 lengths (header, body), then both. One request is in flight at a time; while
it runs this side may send events, and waits for an `ack` of those that must be durable.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import socket
import struct
import threading
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, NamedTuple

import pyarrow as pa

PROTOCOL = 1
"""Both sides must say the same in the handshake."""

HEADER_BYTES_MAX = 64 << 20
"""Longer headers are refused by the other side."""

DEPTH_MAX = 100
"""Of lists and maps within each other; the other side reads no deeper ones."""

_LENGTHS = struct.Struct("<II")
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
_NONE = "\ufffd"


class Frame(NamedTuple):
    """A header and what came with it."""

    header: dict[str, Any]
    body: bytes


class Closed(BaseException):
    """The other side is gone. No error of user code is one, and user code has no handler for it."""


class Channel:
    """One end of the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._sending = threading.Lock()

    def send(self, header: dict[str, Any], rows: pa.Table | pa.RecordBatch | None = None) -> None:
        """Sends one frame; `Closed` if nobody hears it. User code may print from several threads: frames never mix."""
        head = to_json(header)
        body = b"" if rows is None else encode(rows)
        if len(head) > HEADER_BYTES_MAX:
            raise ValueError(f"{len(head) >> 20} MiB of JSON; at most {HEADER_BYTES_MAX >> 20} MiB at a time")
        with self._sending:
            try:
                self._socket.sendall(_LENGTHS.pack(len(head), len(body)) + head + body)
            except OSError as error:
                raise Closed from error

    def receive(self) -> Frame:
        """Waits for one frame; `Closed` once the other side is gone."""
        head_size, body_size = _LENGTHS.unpack(self._exactly(_LENGTHS.size))
        return Frame(json.loads(self._exactly(head_size)), bytes(self._exactly(body_size)))

    def _exactly(self, size: int) -> bytearray:
        read = bytearray(size)
        view = memoryview(read)
        while view:
            try:
                count = self._socket.recv_into(view)
            except OSError as error:
                raise Closed from error
            if count == 0:
                raise Closed
            view = view[count:]
        return read


def to_json(value: Any) -> bytes:
    """JSON of what user code gave, as `plain` makes it."""
    return json.dumps(plain(value), allow_nan=False).encode()


def plain(value: Any, changed: list[str] | None = None, place: str = "", depth: int = 0) -> Any:
    """What user code gave as JSON has it: numpy's values as plain ones, paths and times as text, missing ones as null.

    What JSON or the database can't hold is replaced, so that no work is lost for it, and told in `changed` with its
    place: numbers that are not finite are null, whole numbers beyond 64 bits are text, and characters that are none
    (NUL, halves of surrogates) are U+FFFD. Anything else is refused, so that nothing comes back as something else: a
    model is no JSON.
    """
    told: list[str] = [] if changed is None else changed
    if depth > DEPTH_MAX:
        raise ValueError(f"lists and maps within each other more than {DEPTH_MAX} deep")
    if missing(value):
        return None
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, told, place)
    if isinstance(value, int):
        return _int(int(value), told, place)
    if isinstance(value, float):
        return _float(float(value), told, place)
    if isinstance(value, Mapping):
        pairs = ((_key(key, told, place), item) for key, item in value.items())
        return {key: plain(item, told, f"{place}.{key}" if place else key, depth + 1) for key, item in pairs}
    if isinstance(value, list | tuple):
        return [plain(item, told, f"{place}[{index}]", depth + 1) for index, item in enumerate(value)]
    if hasattr(value, "tolist"):
        inner = value.tolist()
        # A number wider than Python's has no plain one.
        return plain(float(inner) if type(inner) is type(value) else inner, told, place, depth)
    if isinstance(value, dt.date | dt.datetime):
        return value.isoformat()
    if isinstance(value, PurePath):
        return _text(str(value), told, place)
    raise TypeError(f"{type(value).__name__} is not JSON; write it as text, or to a file in `out`")


def missing(value: Any) -> bool:
    """Whether a value is `None`, or pandas' word for one that is missing."""
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def readable(text: str) -> str:
    """Text without characters that are none: NUL and halves of surrogates are U+FFFD."""
    return text.replace("\0", _NONE).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _text(text: str, changed: list[str], place: str) -> str:
    read = readable(text)
    if read != text:
        changed.append(f"{place or 'the text'} holds NUL or half a character; kept with U+FFFD in its place")
    return read


def _float(number: float, changed: list[str], place: str) -> float | None:
    if math.isfinite(number):
        return number
    changed.append(f"{place or 'the value'} is not a finite number ({number}); kept as null")
    return None


def _int(number: int, changed: list[str], place: str) -> int | str:
    if _INT_MIN <= number <= _INT_MAX:
        return number
    changed.append(f"{place or 'the value'} is beyond 64 bits; kept as text")
    return str(number)


def _key(key: Any, changed: list[str], place: str) -> str:
    if isinstance(key, str):
        return _text(key, changed, place)
    if key is None or isinstance(key, bool | int | float):
        return str(json.dumps(key))
    if hasattr(key, "tolist"):
        return _key(key.tolist(), changed, place)
    raise TypeError(f"a name is text, not {type(key).__name__}")


def encode(rows: pa.Table | pa.RecordBatch) -> bytes:
    """Rows as one Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write(rows)
    return bytes(sink.getvalue())


def decode(body: bytes) -> pa.Table:
    """An Arrow IPC stream as rows."""
    return pa.ipc.open_stream(body).read_all()
