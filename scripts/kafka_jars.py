"""Fetches the jars that a lock file names into a folder: `kafka_jars.py LOCK FOLDER`.

The folder then holds these and no others, for all of it is what Java loads. Each line of the lock file is
`group:artifact:version sha256`. Ends with 1, and says why, when a jar can't be fetched or is not the
expected one.
"""

import contextlib
import functools
import hashlib
import io
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from maven_artifact import Artifact, Downloader
from maven_artifact.requestor import RequestException

# A machine without a way out may drop what is sent, instead of refusing it.
ANSWER_WITHIN_SECONDS = 30


def main(lock, folder):
    folder.mkdir(parents=True, exist_ok=True)
    jars = [line.split() for line in lock.read_text().splitlines()]
    with ThreadPoolExecutor(8) as fetchers, contextlib.redirect_stdout(io.StringIO()):
        failures = list(
            filter(None, fetchers.map(lambda jar: fetch(*jar, folder), jars))
        )
    if failures:
        # The others mostly fail for the same reason.
        print(
            f"  {len(failures)} of {len(jars)} jars are missing: {failures[0]}",
            file=sys.stderr,
        )
        sys.exit(1)
    for other in set(folder.glob("*.jar")) - {
        path_of(name, folder) for name, _ in jars
    }:
        other.unlink()


def fetch(name, digest, folder):
    """Why there is no such jar; nothing once it is there."""
    path = path_of(name, folder)
    if path.exists() and sha256(path) == digest:
        return None
    partial = path.with_suffix(".partial")
    try:
        downloader = Downloader()
        downloader.requestor.request = functools.partial(
            downloader.requestor.request, timeout=ANSWER_WITHIN_SECONDS
        )
        downloader.download(Artifact(*name.split(":")), filename=str(partial))
        if sha256(partial) != digest:
            return f"{name}: what was fetched is not what the lock file names"
        partial.replace(path)
    except (RequestException, OSError) as error:
        return f"{name}: {error}"
    finally:
        partial.unlink(missing_ok=True)
    return None


def path_of(name, folder):
    _, artifact, version = name.split(":")
    return folder / f"{artifact}-{version}.jar"


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
