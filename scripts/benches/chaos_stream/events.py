"""What is sent, and what has to come of it: worked out here, by looking at every event, from nothing of Tidemill's."""

import datetime
import json
from collections import Counter

USERS = 400
ACTIONS = ("click", "view", "buy")
MALFORMED, DOUBLED, LATE = 0.02, 0.03, 0.1
# No more dead letters than one list of them shows.
MALFORMED_MAX = 800
BEGIN_BEFORE = datetime.timedelta(days=2)
LATE_UP_TO_SECONDS = 86_400


class Events:
    """So many events of one seed; each is sent once, some twice, and some are no events at all."""

    def __init__(self, rng, count, now):
        malformed_share = min(MALFORMED, MALFORMED_MAX / count)
        begin = (now - BEGIN_BEFORE).replace(microsecond=0)
        self.rows, self.records = [], []
        for number in range(count):
            # Whole seconds, so that many events of a user share one: then the later record is the last one.
            seconds = 86_400 * number // count
            if rng.random() < LATE:
                seconds -= rng.randrange(LATE_UP_TO_SECONDS)
            at = begin + datetime.timedelta(seconds=seconds)
            user = int(USERS * rng.random() ** 2)
            row = {
                "event_id": number,
                "user_id": user,
                "action": rng.choice(ACTIONS),
                "timestamp": at.isoformat(),
                # Quarters: their sums are exact in whatever order they are added.
                "value": None if rng.random() < 0.2 else rng.randrange(400) / 4,
            }
            broken = rng.random() < malformed_share
            value = malformed(rng, row) if broken else written(rng, row)
            self.rows.append(None if broken else row)
            self.records.append((str(user).encode(), value))

    def order(self, rng):
        """The numbers of the records in the order in which they are sent: some twice, the second time a little later."""
        again = {}
        for number in range(len(self.records)):
            yield number
            if rng.random() < DOUBLED:
                again.setdefault(number + rng.randrange(1, 200), []).append(number)
            yield from again.pop(number, ())
        for numbers in again.values():
            yield from numbers


def written(rng, row):
    """A valid event as a program might write it."""
    fields = {
        name: value
        for name, value in row.items()
        if value is not None or rng.random() < 0.5
    }
    if rng.random() < 0.05:
        # The record's key says it.
        del fields["user_id"]
    if rng.random() < 0.05:
        # Not declared: left out, and no reason to refuse the event.
        fields["session"] = {"page": "/shoes"}
    return json.dumps(fields).encode()


def malformed(rng, row):
    """What can't become a row."""
    return rng.choice(
        (
            b'{"user_id": 7, "act',
            b"\xff\xfe\x00",
            b"[1, 2, 3]",
            b"",
            None,
            json.dumps({**row, "timestamp": "yesterday"}).encode(),
            json.dumps({**row, "user_id": "nobody"}).encode(),
            json.dumps({**row, "action": None}).encode(),
            json.dumps({**row, "value": "much"}).encode(),
        )
    )


class Expected:
    """What has to come of the records that a topic holds: `(partition, offset, number)` of each."""

    def __init__(self, events, held):
        self.rows, self.dead = Counter(), set()
        users = {}
        for partition, offset, number in held:
            row = events.rows[number]
            if row is None:
                self.dead.add((partition, offset))
            else:
                self.rows[number] += 1
                users.setdefault(row["user_id"], []).append(
                    (row["timestamp"], offset, row)
                )
        self.online = {user: values(seen) for user, seen in users.items()}


def values(seen):
    """What is known of a user by the events seen, each with its time and offset: a user's are in one partition."""
    _, _, last = max(seen, key=lambda event: event[:2])
    paid = [row["value"] for _, _, row in seen if row["value"] is not None]
    return {
        "last_id": last["event_id"],
        "last_action": last["action"],
        "last_value": last["value"],
        "clicks_7d": sum(row["action"] == "click" for _, _, row in seen),
        "spent_7d": sum(paid) if paid else None,
        "dearest_7d": max(paid, default=None),
    }
