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
from collections import deque
from collections.abc import Iterable, Mapping, Set
from dataclasses import fields, is_dataclass
from decimal import Decimal
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

PROTOCOL = 2
"""Both sides must say the same in the handshake."""

HEADER_BYTES_MAX = 64 << 20
"""Longer headers are refused by the other side."""

DEPTH_MAX = 100
"""Of lists and maps within each other; the other side reads no deeper ones."""

_LENGTHS = struct.Struct("<II")
_SHOWN_MAX = 200
"""Characters of a value that has no plain meaning."""
_DECIMAL_BITS = 4_000
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


def to_json(header: Mapping[str, Any]) -> bytes:
    """JSON of what user code gave, each value as `plain` makes it."""
    return json.dumps({name: plain(value) for name, value in header.items()}, allow_nan=False).encode()


def plain(value: Any, changed: list[str] | None = None, place: str = "", inside: tuple[int, ...] = ()) -> Any:
    """What user code gave as JSON and the database can hold it. Nothing is refused: no work is lost for a value.

    What has a plain meaning keeps it: numpy's and Arrow's values and decimals are numbers, sets and tuples lists,
    dataclasses maps, times and paths text, missing values null, names text. What can't be held is replaced, and told in
    `changed` with its place: numbers that are not finite are null, whole numbers beyond 64 bits are text, characters
    that are none (NUL, halves of surrogates) are U+FFFD, and anything else is the beginning of its `repr`. `inside` has
    the ids of what the value lies in.
    """
    told: list[str] = [] if changed is None else changed
    deep = len(inside) > DEPTH_MAX and not isinstance(value, str | int | float | None)
    if deep or id(value) in inside:
        why = f"more than {DEPTH_MAX} lists and maps deep" if deep else "within itself"
        told.append(f"{place or 'the value'} is {why}; kept as text")
        return shown(value)
    try:
        return _known(value, told, place, (*inside, id(value)))
    except Exception:  # there is no end to what user code's own classes raise, and each value is worth its place alone
        told.append(f"{place or 'the value'} is a {type(value).__name__}; kept as text")
        return shown(value)


def _known(value: Any, told: list[str], place: str, inside: tuple[int, ...]) -> Any:
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
    if isinstance(value, Decimal):
        return _decimal(value, told, place)
    if isinstance(value, Mapping):
        return _map(value.items(), told, place, inside)
    if is_dataclass(value) and not isinstance(value, type):
        return _map(((field.name, getattr(value, field.name)) for field in fields(value)), told, place, inside)
    if isinstance(value, list | tuple | deque | range):
        return [plain(item, told, f"{place}[{index}]", inside) for index, item in enumerate(value)]
    if isinstance(value, set | frozenset):
        return plain(_in_order(value), told, place, inside)
    if isinstance(value, np.generic | np.ndarray) and value.dtype.kind == "M":
        value = value.astype("datetime64[us]")  # a finer one would become a number
    if isinstance(value, bytes | bytearray | memoryview):
        raise TypeError
    for own in ("tolist", "as_py"):  # numpy, pandas and torch; Arrow
        if hasattr(value, own):
            inner = getattr(value, own)()
            # A number wider than Python's has no plain one.
            return plain(float(inner) if type(inner) is type(value) else inner, told, place, inside)
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, PurePath):
        return _text(str(value), told, place)
    raise TypeError


def shown(value: Any) -> str:
    """The beginning of a value's `repr`, were that to raise as well."""
    try:
        text = readable(repr(value[:_SHOWN_MAX] if isinstance(value, bytes | bytearray) else value))
    except BaseException as error:
        return f"<{type(value).__name__}, which can't be shown: {type(error).__name__}>"
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]} …"


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
    # Python writes no decimals of very many digits.
    return str(number) if number.bit_length() < _DECIMAL_BITS else f"{hex(number)[:_SHOWN_MAX]} …"


def _decimal(number: Decimal, changed: list[str], place: str) -> int | float | str | None:
    """Whole as it is written, else the nearest float."""
    if number.is_finite() and number.as_tuple().exponent == 0:
        return _int(int(number), changed, place)
    return _float(math.nan if number.is_nan() else float(number), changed, place)


def _map(items: Iterable[tuple[Any, Any]], changed: list[str], place: str, inside: tuple[int, ...]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, item in items:
        key = _key(name, changed, place)
        if key in result:
            changed.append(f"{place or 'the value'} has the name {key} twice; kept the last")
        result[key] = plain(item, changed, f"{place}.{key}" if place else key, inside)
    return result


def _key(key: Any, changed: list[str], place: str) -> str:
    if isinstance(key, str):
        return _text(key, changed, place)
    if key is None or isinstance(key, bool | int | float):
        return str(json.dumps(key))
    if isinstance(key, tuple):
        return f"({', '.join(_key(part, changed, place) for part in key)})"
    name = plain(key, changed, f"a name in {place}" if place else "a name")
    return name if isinstance(name, str) else str(json.dumps(name))


def _in_order(values: Set[Any]) -> list[Any]:
    """A set's values in the same order each time, if they have one."""
    try:
        return sorted(values)
    except TypeError:
        return list(values)


def encode(rows: pa.Table | pa.RecordBatch) -> bytes:
    """Rows as one Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write(rows)
    return bytes(sink.getvalue())


def decode(body: bytes) -> pa.Table:
    """An Arrow IPC stream as rows."""
    return pa.ipc.open_stream(body).read_all()
