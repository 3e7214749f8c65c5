"""How soon an event is online, and how fast a stream is taken.

    scripts/bench freshness [--rate EVENTS_PER_SECOND] [--seconds N] [--repeats N] [--backlog RECORDS]

Starts a `tidemill dev` of its own with one stream, a view of last values and one of windows, both online. While events come at a
rate, an event of one user is sent now and then, and its value asked of `serve` until it is there: that is how old a value is at
best, the batch's timer of 100 ms included. Then a backlog is sent at once, and the time taken until all of it is in the lake.
"""

import argparse
import datetime
import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from confluent_kafka import Producer

sys.path.insert(0, str(Path(__file__).parent / "chaos_stream"))
from topic import Topic
from tree import Tree

PROJECT = """
apiVersion: tidemill/v1
kind: Project
name: freshness
---
apiVersion: tidemill/v1
kind: Entity
name: user
keys: { user_id: int }
---
apiVersion: tidemill/v1
kind: Source
name: events
columns: { user_id: int, action: string, timestamp: timestamp }
event_time: timestamp
stream: { topic: users, key: user_id }
---
apiVersion: tidemill/v1
kind: FeatureView
name: last_action
entity: user
source: events
features: { action: string }
online: true
---
apiVersion: tidemill/v1
kind: FeatureView
name: clicks
entity: user
source: events
features: { clicks_1h: { type: int, count: "*", where: action = 'click', window: 1h } }
online: true
"""
USERS = 5_000
# Nobody else's.
WATCHED = 999_999
SEEN_WITHIN = 60
TAKEN_WITHIN = 600


def main():
    """Prints what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--backlog", type=int, default=300_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidemill-freshness-") as folder:
        (Path(folder) / "tidemill.yaml").write_text(PROJECT)
        tree = Tree(Path(folder))
        try:
            topic = Topic(tree.places["brokers"], "users", 4)
            tree.must("apply")
            for _ in range(args.repeats):
                say(f"online, {args.rate}/s", freshness(tree, topic, args))
            say("backlog", backlog(tree, topic, args.backlog))
        finally:
            tree.stop()


def say(what, text):
    """A line of what is printed."""
    print(f"  {what:18} {text}", flush=True)


def producer(topic):
    """As a client would have it."""
    return Producer({**topic.client, "enable.idempotence": True, "linger.ms": 5})


def send(of, topic, user, action):
    """One event, now."""
    now = datetime.datetime.now(datetime.UTC).isoformat()
    event = {"user_id": user, "action": action, "timestamp": now}
    while True:
        try:
            return of.produce(topic.name, json.dumps(event), str(user))
        except BufferError:
            of.poll(0.01)


def freshness(tree, topic, args):
    """How long after it was sent an event was online."""
    stop = threading.Event()
    load = threading.Thread(target=keep_sending, args=(topic, args.rate, stop))
    load.start()
    try:
        time.sleep(2)
        took, watcher = [], producer(topic)
        deadline = time.monotonic() + args.seconds
        while time.monotonic() < deadline:
            took.append(1_000 * seen_after(tree, topic, watcher))
    finally:
        stop.set()
        load.join()
    p95 = statistics.quantiles(took, n=20)[-1]
    return f"p50 {statistics.median(took):.0f} ms   p95 {p95:.0f} ms   of {len(took)} events"


def keep_sending(topic, rate, stop):
    """Events of other users, evenly."""
    of, sent, began = producer(topic), 0, time.monotonic()
    while not stop.is_set():
        while sent < (time.monotonic() - began) * rate:
            send(of, topic, sent % USERS, "click")
            sent += 1
        of.poll(0)
        time.sleep(0.005)
    of.flush()


def seen_after(tree, topic, of):
    """Seconds until an event with an action of its own is what `serve` says."""
    began = time.monotonic()
    action = f"seen {began}"
    send(of, topic, WATCHED, action)
    of.poll(0)
    while time.monotonic() - began < SEEN_WITHIN:
        (answer,) = tree.online(["last_action"], [{"user_id": WATCHED}])
        if answer["views"][0]["values"]["action"] == action:
            return time.monotonic() - began
        time.sleep(0.002)
    raise SystemExit(f"an event was not online within {SEEN_WITHIN} s")


def backlog(tree, topic, records):
    """How fast records that come at once are in the lake."""
    of, before = producer(topic), taken(tree)
    began = time.monotonic()
    for number in range(records):
        send(of, topic, number % USERS, "click")
    of.flush()
    sent = time.monotonic() - began
    while taken(tree) < before + records:
        if time.monotonic() - began > TAKEN_WITHIN:
            raise SystemExit(f"not taken within {TAKEN_WITHIN} s")
        time.sleep(0.1)
    took = time.monotonic() - began
    return f"{records:,} records in the lake after {took:.1f} s, {records / took:,.0f}/s; sending took {sent:.1f} s of it"


def taken(tree):
    """Rows and dead letters that there are."""
    shown = tree.must("sources", "show", "events")
    return shown["rows"] + shown["dead_letters"]


if __name__ == "__main__":
    main()
