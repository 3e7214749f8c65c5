"""Frames between Tidemill and this process: lengths, a JSON header, an Arrow IPC body.

A frame is two little-endian u32 lengths (header, body), then both. One request is in flight at a time; while
it runs this side may send events, and waits for an `ack` of those that must be durable.
"""

from __future__ import annotations

import datetime as dt
import json
import socket
import struct
import threading
from pathlib import PurePath
from typing import Any, NamedTuple

import pyarrow as pa

PROTOCOL = 1
"""Both sides must say the same in the handshake."""

HEADER_BYTES_MAX = 64 << 20
"""Longer headers are refused by the other side."""

_LENGTHS = struct.Struct("<II")


class Frame(NamedTuple):
    """A header and what came with it."""

    header: dict[str, Any]
    body: bytes


class Channel:
    """One end of the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._sending = threading.Lock()

    def send(self, header: dict[str, Any], rows: pa.Table | pa.RecordBatch | None = None) -> None:
        """Sends one frame. User code may print from several threads: frames never mix."""
        head = to_json(header)
        body = b"" if rows is None else encode(rows)
        if len(head) > HEADER_BYTES_MAX:
            raise ValueError(f"{len(head) >> 20} MiB of JSON; at most {HEADER_BYTES_MAX >> 20} MiB at a time")
        with self._sending:
            self._socket.sendall(_LENGTHS.pack(len(head), len(body)) + head + body)

    def receive(self) -> Frame:
        """Waits for one frame; `EOFError` once the other side is gone."""
        head_size, body_size = _LENGTHS.unpack(self._exactly(_LENGTHS.size))
        return Frame(json.loads(self._exactly(head_size)), bytes(self._exactly(body_size)))

    def _exactly(self, size: int) -> bytearray:
        read = bytearray(size)
        view = memoryview(read)
        while view:
            count = self._socket.recv_into(view)
            if count == 0:
                raise EOFError
            view = view[count:]
        return read


def to_json(value: Any) -> bytes:
    """JSON of what user code gave: numpy's values become plain ones, paths and times text.

    Anything else is refused, so that nothing comes back as something else: a model is no JSON, and NaN is not.
    """

    def convert(other: Any) -> Any:
        if hasattr(other, "tolist"):
            return other.tolist()
        if isinstance(other, dt.date | dt.datetime):
            return other.isoformat()
        if isinstance(other, PurePath):
            return str(other)
        raise TypeError(f"{type(other).__name__} is not JSON; write it as text, or to a file in `out`")

    return json.dumps(value, default=convert, allow_nan=False).encode()


def encode(rows: pa.Table | pa.RecordBatch) -> bytes:
    """Rows as one Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write(rows)
    return bytes(sink.getvalue())


def decode(body: bytes) -> pa.Table:
    """An Arrow IPC stream as rows."""
    return pa.ipc.open_stream(body).read_all()
