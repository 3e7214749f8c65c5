"""The processes that a `tidemill dev` keeps."""

import contextlib
from pathlib import Path


def children(parent, name):
    """Ids of the children of process `parent` whose program, or whose subcommand, is `name`."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            of = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            words = (entry / "cmdline").read_bytes().decode().split("\0")
            # Valkey writes its address behind its name.
            program = Path(words[0].split(" ")[0]).name
            if of == parent and name in (program, *words[1:2]):
                found.append(int(entry.name))
    return found
