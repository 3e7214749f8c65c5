"""Whether a stream stays exactly once while everything that carries it is killed.

    scripts/bench chaos-stream [--rows N] [--kills N] [--every SECONDS] [--seed N] [--short]

Starts a `tidemill dev` of its own with one stream, a view of last values and one of windows. Sends events to Kafka with a client
of its own: some malformed, some twice, some late. While they are sent, gateway, workers, server, Postgres, Valkey and Kafka are
ended with `kill -9`, one at a time, at random. Then it waits until all is read, and compares:

- the rows of the lake with the valid events that the topic holds, as a multiset
- dead letters with the malformed records, by partition and offset
- what is online of each user with what all of its events say
- how far each partition was read with what it holds; and that no job runs or waits

Everything is seen through the command line and HTTP. Prints the counts; ends with 1 when anything differs.
"""

import argparse
import collections
import datetime
import random
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet
from events import Events, Expected
from topic import Sender, Topic
from tree import Tree

PROJECT = """
apiVersion: tidemill/v1
kind: Project
name: chaos
---
apiVersion: tidemill/v1
kind: Entity
name: user
keys: { user_id: int }
---
apiVersion: tidemill/v1
kind: Source
name: events
columns:
  event_id: int
  user_id: int
  action: string
  timestamp: timestamp
  value: { type: float, nullable: true }
event_time: timestamp
stream: { topic: users, key: user_id }
---
apiVersion: tidemill/v1
kind: FeatureView
name: last_event
entity: user
source: events
features:
  last_id: { type: int, last: event_id }
  last_action: { type: string, last: action }
  last_value: { type: float, last: value }
online: true
---
apiVersion: tidemill/v1
kind: FeatureView
name: week
entity: user
source: events
features:
  clicks_7d: { type: int, count: "*", where: action = 'click', window: 7d }
  spent_7d: { type: float, sum: value, window: 7d }
  dearest_7d: { type: float, max: value, window: 7d }
online: true
"""
VIEWS = ("last_event", "week")
PARTITIONS = 4
# By what its process is called.
KILLED = {
    "gateway": "gateway",
    "worker": "worker",
    "server": "server",
    "Postgres": "postgres",
    "Valkey": "valkey-server",
    "Kafka": "java",
}
DRAINED_WITHIN = 600
SENT_WITHIN = 600
SHOWN = 5
LISTED = 1000


def main():
    """The story."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument(
        "--every", type=float, default=3.0, help="seconds between two kills, on average"
    )
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(1_000_000)
    )
    parser.add_argument(
        "--short", action="store_true", help="4,000 rows, 8 kills, a minute"
    )
    args = parser.parse_args()
    if args.short:
        args.rows, args.kills, args.every = 4_000, 8, 2.5
    print(
        f"seed {args.seed}: {args.rows} events, {args.kills} kills, one every {args.every} s",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="tidemill-chaos-") as folder:
        tree = started(Path(folder))
        try:
            differences = told(tree, args)
        finally:
            tree.stop()
    for difference in differences:
        print(f"  differs: {difference}")
    print(
        "exactly once"
        if not differences
        else f"{len(differences)} differences; seed {args.seed}"
    )
    sys.exit(bool(differences))


def started(folder):
    """A tree with the project declared."""
    (folder / "tidemill.yaml").write_text(PROJECT)
    return Tree(folder)


def told(tree, args):
    """Sends, kills, waits and compares; every difference in words."""
    rng = random.Random(args.seed)
    topic = Topic(tree.places["brokers"], "users", PARTITIONS)
    tree.must("apply")
    events = Events(rng, args.rows, datetime.datetime.now(datetime.UTC))
    order = list(events.order(rng))
    per_second = len(order) / (args.kills * args.every)
    sender = Sender(topic, events.records, order, per_second)
    sender.start()
    ended = kills(tree, args, rng, sender)
    sender.join(SENT_WITHIN)
    if sender.is_alive():
        raise SystemExit("the broker did not come back: what was sent is not there")
    sent_at = time.monotonic()
    held = topic.held()
    drained_at = drained(tree, len(held))
    say("killed", ", ".join(f"{count} {name}" for name, count in sorted(ended.items())))
    say("topic", f"{len(held)} records, sent at {per_second:.0f} a second")
    if drained_at:
        say("drained", f"{drained_at - sent_at:.1f} s after the last was sent")
    late = [] if drained_at else [f"it was not drained within {DRAINED_WITHIN} s"]
    return (
        late
        + undelivered(sender, held, order)
        + compared(tree, events, Expected(events, held))
        + ended_well(tree, held)
    )


def say(what, text):
    """A line of what is printed."""
    print(f"  {what:13} {text}", flush=True)


def undelivered(sender, held, order):
    """What Kafka itself has otherwise than it was sent: then nothing that follows means anything."""
    refused = [f"the producer was refused: {why}" for why in sender.refused[:SHOWN]]
    found = collections.Counter(number for *_, number in held)
    return refused + different(
        "records of the topic", found, collections.Counter(order)
    )


def compared(tree, events, expected):
    """What differs between what came of the events and what should have."""
    return (
        lake(tree, events, expected)
        + dead_letters(tree, expected)
        + online(tree, expected)
    )


def kills(tree, args, rng, sender):
    """Ends one process after the other while events are sent, each as often as another; how many of each."""
    ended, due, began = collections.Counter(), [], time.monotonic()
    while ended.total() < args.kills:
        time.sleep(rng.uniform(0.2, 1.8) * args.every)
        if tree.ended():
            raise SystemExit("tidemill dev itself has ended")
        due = due or rng.sample(sorted(KILLED), len(KILLED))
        name = due.pop()
        # One that was just ended may not be back yet.
        ended[name] += tree.kill(KILLED[name], rng)
    took = time.monotonic() - began
    say("kills", f"{args.kills} in {took:.0f} s, with {sender.sent} records sent")
    return ended


def drained(tree, records):
    """When every record was a row or a dead letter, every view had them and no job was left; `None`: never."""
    deadline = time.monotonic() + DRAINED_WITHIN
    while time.monotonic() < deadline:
        if taken(tree) == records and idle(tree):
            return time.monotonic()
        time.sleep(0.5)
    return None


def taken(tree):
    """Records that became rows or dead letters, as far as the server can tell now."""
    shown = tree.ask("sources", "show", "events")
    return shown["rows"] + shown["dead_letters"] if shown else None


def idle(tree):
    """Whether no job runs or waits, and no view is behind."""
    queue, views = tree.ask("queue", "stats"), tree.ask("features", "list")
    if queue is None or views is None:
        return False
    waiting = any(row["running"] or row["available"] for row in queue)
    return not waiting and not any(int(view["commits_behind"]) for view in views)


def lake(tree, events, expected):
    """What differs between the lake's rows and the valid events."""
    file = tree.folder / "rows.parquet"
    tree.must(
        "sql",
        "SELECT event_id, user_id, action, timestamp, value FROM events",
        "--out",
        file,
    )
    rows = pyarrow.parquet.read_table(file).to_pylist()
    found = collections.Counter()
    changed = []
    for row in rows:
        number = row["event_id"]
        sent = events.rows[number] if 0 <= number < len(events.rows) else None
        row["timestamp"] = row["timestamp"].isoformat()
        found[number] += 1
        if row != sent:
            changed.append(f"a row of the lake: {row}, sent: {sent}")
    say("lake", f"{len(rows)} rows of {expected.rows.total()} valid records")
    return different("rows of the lake", found, expected.rows) + changed[:SHOWN]


def dead_letters(tree, expected):
    """What differs between the dead letters and the malformed records."""
    letters = tree.must("sources", "dead-letters", "events", "--limit", LISTED)
    found = collections.Counter(
        (letter["partition"], letter["offset"]) for letter in letters
    )
    say("dead letters", f"{len(letters)} of {len(expected.dead)} malformed records")
    return different(
        "dead letters (partition, offset)", found, collections.Counter(expected.dead)
    )


def online(tree, expected):
    """What differs between what is served of each user and what the events say."""
    users, differences = sorted(expected.online), []
    for start in range(0, len(users), 500):
        some = users[start : start + 500]
        answers = tree.online(VIEWS, [{"user_id": user} for user in some])
        for user, answer in zip(some, answers, strict=True):
            served = {
                name: value
                for view in answer["views"]
                for name, value in view["values"].items()
            }
            if served != expected.online[user]:
                differences.append(
                    f"user {user} is served {served}, not {expected.online[user]}"
                )
    right = len(users) - len(differences)
    say("online", f"{right} of {len(users)} users as their events say")
    return differences[:SHOWN]


def ended_well(tree, held):
    """What is left that should not be: records not read or lost, batches, jobs, panics."""
    stream = tree.must("sources", "show", "events")["stream"]
    ends = collections.Counter(partition for partition, *_ in held)
    differences = []
    for place in stream["partitions"]:
        partition, read = place["partition"], place["next_offset"]
        if place["run"]:
            differences.append(
                f"a batch of partition {partition} is left: {place['run']}"
            )
        if read != ends[partition]:
            differences.append(
                f"partition {partition} was read to {read}, not to {ends[partition]}"
            )
    differences += [f"a gap that Kafka does not have: {gap}" for gap in stream["gaps"]]
    # Compaction is asked for now and then, and ends.
    deadline = time.monotonic() + DRAINED_WITHIN
    while not (calm := idle(tree)) and time.monotonic() < deadline:
        time.sleep(0.5)
    if not calm:
        differences.append(
            f"jobs are left, or views behind: {tree.ask('queue', 'stats')}"
        )
    return differences + tree.panics()[:SHOWN]


def different(what, found, wanted):
    """How two multisets differ, in words."""
    missing, more = wanted - found, found - wanted
    said = [(missing, "missing"), (more, "too many")]
    return [
        f"{what}: {each.total()} {how}, such as {sorted(each)[:SHOWN]}"
        for each, how in said
        if each
    ]


if __name__ == "__main__":
    main()
