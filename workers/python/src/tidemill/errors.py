"""What user code did wrong, as its author should read it."""

from __future__ import annotations

import textwrap
import traceback
from pathlib import Path
from types import ModuleType

project: Path | None = None
"""Where the author's project was unpacked: what is told names its files from there."""

_OURS = Path(__file__).parent
_CHAIN_MAX = 20
_PARTS_MAX = 10
"""Causes of an exception, and parts of a group, that are told."""


class EntryError(Exception):
    """`module:function` can't be loaded."""


class ReturnedError(Exception):
    """User code returned something else than was declared."""


def user_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """The author's own frames; where none is, what raised, unless that is ours."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _ours(frame.filename)]
    return [frame for frame in frames if not installed(frame.filename)] or frames[-1:]


def traceback_of(error: BaseException) -> str:
    """The traceback trimmed to the author's own frames, after those of its cause, before those of its parts."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and all(cause is not one for one in chain) and len(chain) < _CHAIN_MAX:
        chain.append(cause)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "\n\nthen, while that was handled:\n\n".join(_traced(one) for one in reversed(chain))


def headline(error: BaseException) -> str:
    """`Type: message at file:line`; of a group with the same of its first part."""
    text, frames = _said(error), user_frames(error)
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
        text, frames = f"{text}: {_said(error)}", user_frames(error) or frames
    if not frames:
        return text
    path = Path(frames[-1].filename)
    inside = project is not None and path.is_relative_to(project)
    place = path.relative_to(project) if project is not None and inside else f"{path.parent.name}/{path.name}"
    return f"{text} at {place}:{frames[-1].lineno}"


def text_of(error: BaseException) -> str:
    """What an exception says of itself, were that to raise as well."""
    try:
        return str(error)
    except BaseException as another:
        return f"(its text can't be read: {type(another).__name__})"


def _said(error: BaseException) -> str:
    first = (text_of(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _traced(error: BaseException) -> str:
    lines = traceback.format_list(user_frames(error)) + traceback.format_exception_only(error)
    told = "".join(lines).rstrip()
    if project is not None:
        told = told.replace(f'"{project}/', '"')
    if not isinstance(error, BaseExceptionGroup):
        return told
    count = len(error.exceptions)
    parts = [
        f"part {number} of {count}:\n\n{textwrap.indent(traceback_of(part), '  ')}"
        for number, part in enumerate(error.exceptions[:_PARTS_MAX], 1)
    ]
    return "\n\n".join([told, *parts])


def _ours(filename: str) -> bool:
    return filename.startswith("<frozen") or _OURS in Path(filename).parents


def installed(filename: str) -> bool:
    """Whether a file belongs to Python or to a library, not to the author."""
    return "site-packages" in filename or "/lib/python3" in filename or filename.startswith("<")


def of_the_author(module: ModuleType) -> bool:
    """Whether a module is the author's own; what runs as a script counts by itself wherever it is pickled."""
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and module.__name__ != "__main__" and not installed(file) and not _ours(file)
