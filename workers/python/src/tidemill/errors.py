"""What user code did wrong, as its author should read it."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import ModuleType

project: Path | None = None
"""Where the author's project was unpacked: what is told names its files from there."""

_OURS = Path(__file__).parent


class EntryError(Exception):
    """`module:function` can't be loaded."""


class ReturnedError(Exception):
    """User code returned something else than was declared."""


def user_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """The author's own frames; where none is, what raised, unless that is ours."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _ours(frame.filename)]
    return [frame for frame in frames if not installed(frame.filename)] or frames[-1:]


def traceback_of(error: BaseException) -> str:
    """The traceback trimmed to the author's own frames, after those of its cause."""
    lines = traceback.format_list(user_frames(error)) + traceback.format_exception_only(error)
    told = "".join(lines).rstrip()
    if project is not None:
        told = told.replace(f'"{project}/', '"')
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return told if cause is None else f"{traceback_of(cause)}\n\nthen, while that was handled:\n\n{told}"


def headline(error: BaseException) -> str:
    """`Type: message at file:line`."""
    first = (str(error).splitlines() or [""])[0]
    text = f"{type(error).__name__}: {first}" if first else type(error).__name__
    frames = user_frames(error)
    if not frames:
        return text
    path = Path(frames[-1].filename)
    inside = project is not None and path.is_relative_to(project)
    place = path.relative_to(project) if project is not None and inside else f"{path.parent.name}/{path.name}"
    return f"{text} at {place}:{frames[-1].lineno}"


def _ours(filename: str) -> bool:
    return filename.startswith("<frozen") or _OURS in Path(filename).parents


def installed(filename: str) -> bool:
    """Whether a file belongs to Python or to a library, not to the author."""
    return "site-packages" in filename or "/lib/python3" in filename or filename.startswith("<")


def of_the_author(module: ModuleType) -> bool:
    """Whether a module is the author's own; what runs as a script counts by itself wherever it is pickled."""
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and module.__name__ != "__main__" and not installed(file) and not _ours(file)
