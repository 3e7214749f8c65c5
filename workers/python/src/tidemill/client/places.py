"""Where the servers are: as the command line finds them."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

from tidemill.client.answers import TidemillError

_TREES = (".tidemill", ".tidemill/demo/world")
_LOCK = "lock"
_START = 'start it with `tidemill dev`, or name a server: Client("http://HOST:PORT") or TIDEMILL_SERVER_URL'


@dataclass(frozen=True)
class Places:
    """URLs. Where predictions are answered the server knows, if nobody else says it."""

    server: str
    serve: str | None


def find(server: str | None, serve: str | None) -> Places:
    """What is given, else the environment's, else the `tidemill dev` that runs in this folder or one above."""
    serve = serve or _listening("TIDEMILL_SERVE__HTTP")
    server = server or os.environ.get("TIDEMILL_SERVER_URL") or _listening("TIDEMILL_SERVER__LISTEN")
    if server:
        return Places(_checked(server), _checked(serve) if serve else None)
    here = Path.cwd()
    for folder in (here, *here.parents):
        for tree in _TREES:
            told = _running(folder / tree)
            if told:
                return Places(f"http://{told['server']}", serve or f"http://{told['serve_http']}")
    raise TidemillError(
        "no server is named, and no `tidemill dev` runs in this folder or one above", code="TM0102", hint=_START
    )


def _running(tree: Path) -> dict[str, str] | None:
    """What a tree that runs says of itself. It holds its lock as long as it does."""
    try:
        with (tree / _LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        pass
    except OSError:
        return None
    try:
        told: dict[str, str] = json.loads((tree / "dev.json").read_text())
    except (OSError, ValueError):
        return None
    return told


def _listening(variable: str) -> str | None:
    address = os.environ.get(variable)
    return f"http://{address}" if address else None


def _checked(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise TidemillError(f"`{url}` is not the URL of a server", hint="write http://HOST:PORT")
    return url.rstrip("/")
