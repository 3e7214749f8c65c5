"""Light work that goes on while servers are away: uploads, runs, predictions, and looks at what the platform says."""

import csv
import json
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from datetime import UTC, datetime

ROWS = 20
"""Of each upload."""
WORKS_WITHIN = 120
"""Seconds that one look at whether everything works may take, on a busy machine."""


def ask(url, body=None, within=5):
    """An HTTP status, 0 for no answer, and the answer."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json"} if data else {}
    request = urllib.request.Request(url, data=data, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=within) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()
    except OSError:
        return 0, b""


class Load:
    """Runs in threads from `start` to `stop`; counts what was tried, what failed and what was acknowledged."""

    def __init__(self, dev, folder):
        self.dev, self.folder = dev, folder
        self.next_order = 1
        self.lock, self.ended = threading.Lock(), threading.Event()
        self.rows = {}
        """Acknowledged rows: customer to amount."""
        self.runs = []
        """Acknowledged runs."""
        self.reset()

    def reset(self):
        """Begins to count anew; what was acknowledged stays."""
        self.tried, self.failed = Counter(), Counter()
        self.said = {"server": [], "serve": [], "status": []}

    def start(self):
        self.ended.clear()
        loops = [
            (self.upload, 3.0),
            (self.begin_run, 5.0),
            (self.predict, 0.1),
            (self.look, 0.5),
        ]
        self.threads = [
            threading.Thread(target=self.repeat, args=loop, daemon=True)
            for loop in loops
        ]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def repeat(self, act, every):
        while not self.ended.wait(every):
            act()

    def count(self, what, succeeded):
        self.tried[what] += 1
        self.failed[what] += not succeeded

    def upload(self):
        """One file of new rows; whether it was acknowledged. A file that was not is sent again, as users do."""
        with self.lock:
            first, self.next_order = self.next_order, self.next_order + ROWS
        path = self.folder / f"orders-{first}.csv"
        now = datetime.now(UTC).isoformat()
        rows = [(first + n, first + n, now, float(first + n)) for n in range(ROWS)]
        with open(path, "w", newline="") as out:
            csv.writer(out).writerows(
                [("order_id", "customer_id", "ordered_at", "amount"), *rows]
            )
        while not self.ended.is_set():
            code, _ = self.dev.run(
                "sources", "upload", "orders", path, "--no-wait", within=60
            )
            self.count("uploads", code == 0)
            if code == 0:
                self.rows.update({customer: amount for _, customer, _, amount in rows})
                return first
            self.ended.wait(1)
        return None

    def begin_run(self):
        code, said = self.dev.run("run", "tick", within=60)
        self.count("runs", code == 0)
        if code == 0:
            self.runs.append(said.get("run_id") or said.get("id"))

    def predict(self):
        customer = max(1, self.next_order - 10 * ROWS)
        url = f"http://{self.dev.places['serve_http']}/v1/models/spender:predict"
        status, _ = ask(url, {"entities": [{"customer_id": customer}]})
        self.count("predictions", status == 200)

    def look(self):
        """Notes what ready and status say, where that has changed."""
        server, serve = self.dev.places["server"], self.dev.places["serve_http"]
        status, page = ask(f"http://{server}/v1/status")
        workers = len(json.loads(page)["workers"]) if status == 200 else 0
        for who, said in (
            ("server", ask(f"http://{server}/readyz")[0]),
            ("serve", ask(f"http://{serve}/readyz")[0]),
            ("status", f"{workers} workers" if status == 200 else status),
        ):
            known = self.said[who]
            if not known or known[-1] != said:
                known.append(said)


def works(dev, load):
    """Whether a new file gets through to a prediction's features, and a run to its end."""
    first = load.upload()
    if first is None:
        return False
    deadline = time.monotonic() + WORKS_WITHIN
    code, _ = dev.run("run", "tick", "--wait", within=WORKS_WITHIN)
    if code:
        return False
    while time.monotonic() < deadline:
        _, said = dev.run(
            "features", "get", "--view", "last_order", "--entity", first, within=10
        )
        if str(float(first)) in json.dumps(said):
            return predicted(dev, first)
        time.sleep(0.2)
    return False


def predicted(dev, customer):
    url = f"http://{dev.places['serve_http']}/v1/models/spender:predict"
    return ask(url, {"entities": [{"customer_id": customer}]})[0] == 200
