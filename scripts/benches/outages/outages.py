"""The ways in which servers go away. Each method returns when the server is back; its doc is its name in the table."""

import os
import signal
import time
from contextlib import contextmanager

BACK_WITHIN = 300
SCHEMAS = "('engine', 'catalog', 'lake')"


@contextmanager
def stopped(pids):
    """Processes that answer nothing and keep their connections."""
    if not pids:
        raise SystemExit("there is no such process to stop")
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


class Outages:
    """Done to one `dev` and its object store; `short`: for seconds instead of minutes."""

    def __init__(self, dev, objects, short):
        self.dev, self.objects = dev, objects
        self.long, self.medium, self.minute = (15, 5, 10) if short else (180, 20, 60)

    def all(self):
        return [
            self.redis_emptied,
            self.redis_hangs,
            self.redis_killed,
            self.postgres_read_only,
            self.postgres_immediate,
            self.postgres_fast,
            self.postgres_smart,
            self.logs_full,
            self.open_reader,
            self.objects_hang,
        ]

    def redis_emptied(self):
        "redis emptied"
        self.dev.empty_redis()

    def redis_hangs(self):
        "redis hangs"
        with stopped(self.dev.children("valkey-server")):
            time.sleep(self.long)

    def redis_killed(self):
        "redis killed again and again"
        end = time.monotonic() + self.long
        while time.monotonic() < end:
            self.dev.signal("valkey-server", signal.SIGKILL)
            time.sleep(0.2)

    def postgres_read_only(self):
        "postgres read-only"
        self.read_only("on")
        time.sleep(self.medium)
        self.read_only("off")

    def read_only(self, word):
        setting = f"ALTER SYSTEM SET default_transaction_read_only = {word};"
        self.dev.sql(f"{setting}\nSELECT pg_reload_conf();", writes=True).communicate()

    def postgres_immediate(self):
        "postgres restarted: immediate"
        self.restart(signal.SIGQUIT)

    def postgres_fast(self):
        "postgres restarted: fast"
        self.restart(signal.SIGINT)

    def postgres_smart(self):
        "postgres restarted: smart"
        self.restart(signal.SIGTERM)

    def restart(self, number):
        before = set(self.dev.children("postgres"))
        self.dev.signal("postgres", number)
        end = time.monotonic() + BACK_WITHIN
        while (
            time.monotonic() < end and not set(self.dev.children("postgres")) - before
        ):
            time.sleep(0.1)

    def logs_full(self):
        "logs on a full disk, postgres killed"
        logs = self.dev.folder / ".tidemill/logs"
        for log in logs.glob("*.log"):
            log.rename(log.with_suffix(".kept"))
            log.symlink_to("/dev/full")
        self.kill_roles()
        time.sleep(self.medium)
        self.dev.signal("postgres", signal.SIGKILL)
        time.sleep(self.medium)
        # Roles that live keep the full disk; those that are started again find space.
        for log in logs.glob("*.log"):
            log.unlink()
            log.with_suffix(".kept").rename(log)

    def kill_roles(self):
        for role in ("server", "gateway", "serve", "worker"):
            self.dev.signal(role, signal.SIGKILL)

    def open_reader(self):
        "a reader open on every table"
        each = "SELECT format('SELECT 1 FROM %I.%I LIMIT 1', schemaname, tablename) FROM pg_tables"
        reader = self.dev.sql(f"BEGIN;\n{each} WHERE schemaname IN {SCHEMAS} \\gexec")
        time.sleep(self.minute)
        reader.communicate("COMMIT;\n")

    def objects_hang(self):
        "object store hangs"
        with stopped([self.objects.process.pid]):
            time.sleep(self.minute)
