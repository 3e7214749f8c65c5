"""A `tidemill dev` of its own: its commands, its processes, and the ends that these meet."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

# What benches share lies beside their folders.
sys.path.append(str(Path(__file__).parents[1]))
from children import children

READY_WITHIN = 400
COMMAND_WITHIN = 120
# What would lead a tree to other servers than its own.
GIVEN = (
    "TIDEMILL_DATABASE__",
    "TIDEMILL_REDIS__",
    "TIDEMILL_KAFKA__",
    "TIDEMILL_BLOBS__",
)


class Tree:
    """Runs in a folder until it is stopped."""

    def __init__(self, folder, workers=2):
        self.folder = folder
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(GIVEN)
        }
        with open(folder / "dev.log", "wb") as log:
            self.process = subprocess.Popen(
                ["tidemill", "dev", "--workers", str(workers)],
                cwd=folder,
                env=environment,
                stderr=log,
            )
        deadline = time.monotonic() + READY_WITHIN
        while "next: tidemill" not in (folder / "dev.log").read_text():
            if self.ended() or time.monotonic() > deadline:
                self.give_up("tidemill dev did not start")
            time.sleep(0.1)
        self.places = json.loads((folder / ".tidemill/dev.json").read_text())
        if not self.places["brokers"]:
            self.give_up("there is no Kafka: run scripts/setup")

    def ended(self):
        """Whether it is gone."""
        return self.process.poll() is not None

    def give_up(self, why):
        """Ends everything, for it can't be tried."""
        self.stop()
        raise SystemExit(f"{why}\n{(self.folder / 'dev.log').read_text()}")

    def ask(self, *arguments):
        """What a command answers; `None` when it can't, for what it asks may be away."""
        command = ["tidemill", *map(str, arguments), "-o", "json"]
        with contextlib.suppress(subprocess.SubprocessError, ValueError):
            done = subprocess.run(
                command,
                cwd=self.folder,
                capture_output=True,
                timeout=COMMAND_WITHIN,
                check=True,
            )
            return json.loads(done.stdout)
        return None

    def must(self, *arguments):
        """What a command prints that has to work."""
        command = ["tidemill", *map(str, arguments), "-o", "json"]
        done = subprocess.run(
            command,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=5 * COMMAND_WITHIN,
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
        return json.loads(done.stdout) if done.stdout else None

    def online(self, views, entities):
        """The values that `serve` has of some entities, by view."""
        connection = http.client.HTTPConnection(
            self.places["serve_http"], timeout=COMMAND_WITHIN
        )
        body = json.dumps({"features": views, "entities": entities})
        connection.request(
            "POST", "/v1/features/online", body, {"content-type": "application/json"}
        )
        reply = connection.getresponse()
        answer = reply.read()
        if reply.status != 200:
            raise SystemExit(f"online features: {reply.status} {answer.decode()}")
        return json.loads(answer)["entities"]

    def kill(self, name, rng):
        """Ends one of the processes of that name with `kill -9`; whether there was one."""
        pids = children(self.process.pid, name)
        with contextlib.suppress(ProcessLookupError):
            if pids:
                os.kill(rng.choice(pids), signal.SIGKILL)
                return True
        return False

    def panics(self):
        """Lines of the logs that tell of a panic: a bug, whatever came of it."""
        logs = sorted((self.folder / ".tidemill/logs").glob("*.log"))
        lines = (
            (log.name, line)
            for log in logs
            for line in log.read_text(errors="replace").splitlines()
        )
        return [f"{log}: {line}" for log, line in lines if "panicked" in line]

    def stop(self):
        """In order, as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(3 * COMMAND_WITHIN)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
