"""Frames between Tidemill and this process: lengths, a JSON header, an Arrow IPC body.

A frame is two little-endian u32 lengths (header, body), then both. One request is in flight at a time; while
it runs this side may send events, and waits for an `ack` of those that must be durable.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any, NamedTuple

import pyarrow as pa

PROTOCOL = 1
"""Both sides must say the same in the handshake."""

_LENGTHS = struct.Struct("<II")


class Frame(NamedTuple):
    """A header and what came with it."""

    header: dict[str, Any]
    body: bytes


class Channel:
    """One end of the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def send(self, header: dict[str, Any], rows: pa.Table | pa.RecordBatch | None = None) -> None:
        """Sends one frame."""
        head = json.dumps(header, default=str).encode()
        body = b"" if rows is None else encode(rows)
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


def encode(rows: pa.Table | pa.RecordBatch) -> bytes:
    """Rows as one Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write(rows)
    return bytes(sink.getvalue())


def decode(body: bytes) -> pa.Table:
    """An Arrow IPC stream as rows."""
    return pa.ipc.open_stream(body).read_all()
