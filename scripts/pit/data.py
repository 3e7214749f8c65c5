"""Random rows as files and as the oracle sees them: ties, late rows, corrections, tombstones, null keys."""

import csv
import datetime as dt
import json

import pyarrow as pa
import pyarrow.parquet as pq
from oracle import DAY, HOUR, MINUTE, Row

CITIES, DRIVERS = ["Oslo", "Rome", "Kyōto", "a,b"], [1, 2, 3]
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
BEGIN = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
ROWS = 160
"""Of each upload."""
TTL, TTL_SHORT = 2 * HOUR, 90 * MINUTE
"""Of the project's views."""


def micros(moment):
    """Microseconds since 1970."""
    return (moment - EPOCH) // dt.timedelta(microseconds=1)


def text(value, zone="Z"):
    """An instant as people write it; without a zone it is UTC."""
    moment = EPOCH + dt.timedelta(microseconds=value)
    if zone == "+02:00":
        return moment.astimezone(dt.timezone(dt.timedelta(hours=2))).isoformat()
    return moment.replace(tzinfo=None).isoformat() + zone


class Data:
    """Random rows, as files and as the oracle sees them."""

    def __init__(self, rng):
        self.rng = rng
        self.trips, self.pings = [], []
        self.trip_ids = 0

    def moment(self, wave):
        """Coarse, so that ties and the ends of windows and ttl are hit; a later wave goes back in time, too."""
        rng = self.rng
        first, last = (0 if rng.random() < 0.3 else wave * 24), wave * 24 + 30
        at = micros(BEGIN) + rng.randrange(first * 12, last * 12) * 5 * MINUTE
        return at + rng.choice([0, 0, 0, 0, -1, 1, rng.randrange(5 * MINUTE)])

    def new_trips(self, wave):
        """Some of them correct, move or void an earlier trip."""
        rng, made = self.rng, []
        for index in range(ROWS):
            valid = self.moment(wave)
            columns = {
                "city": rng.choice([*CITIES, *CITIES, None]),
                "driver": rng.choice([*DRIVERS, *DRIVERS, None]),
                "trip": self.trip_ids,
                "ended_at": valid,
                "recorded_at": valid + rng.choice([0, 0, 1, HOUR, 3 * HOUR, DAY]),
                "fare": rng.choice([None, round(rng.uniform(-20, 90), 2)]),
                "stops": rng.choice([None, rng.randrange(9)]),
                "void": rng.choice([None, False, False, False, True]),
            }
            self.trip_ids += 1
            if self.trips and rng.random() < 0.35:
                earlier = rng.choice(self.trips[-400:]).columns
                same = ["trip", *rng.sample(["city", "driver", "ended_at"], 2)]
                columns |= {name: earlier[name] for name in same}
                later = columns["ended_at"] + rng.choice([0, 2 * HOUR, DAY])
                columns["recorded_at"] = max(later, columns["ended_at"])
            self.trips.append(
                Row(
                    columns,
                    (columns["city"], columns["driver"]),
                    columns["ended_at"],
                    columns["recorded_at"],
                    (wave, index),
                    columns["void"] is True,
                )
            )
            made.append(columns)
        return made

    def new_pings(self, wave):
        """Accepted when the data clock shows the wave's day."""
        rng, made = self.rng, []
        for index in range(ROWS):
            columns = {
                "driver": rng.choice([*DRIVERS, 7]),
                "city": rng.choice([*CITIES, None]),
                "seen_at": self.moment(wave),
                "speed": rng.choice([None, rng.randrange(100) / 8, rng.uniform(0, 99)]),
                "ok": rng.choice([None, True, False]),
            }
            accepted = micros(clock_of(wave))
            key, at = (columns["driver"],), columns["seen_at"]
            self.pings.append(Row(columns, key, at, accepted, (wave, index)))
            made.append(columns)
        return made

    def labels(self, count):
        """Moments on, just before and just after what happens; some keys unknown or null, some rows twice."""
        rng, made = self.rng, []
        edges = [
            0,
            0,
            1,
            -1,
            TTL,
            TTL + 1,
            TTL_SHORT,
            TTL_SHORT + 1,
            2 * HOUR,
            30 * MINUTE,
        ]
        for number in range(count):
            near = rng.choice([*self.trips, *self.pings])
            row = {
                "city": near.columns["city"] or rng.choice([*CITIES, "nowhere", None]),
                "driver": near.columns["driver"] or rng.choice([*DRIVERS, 99]),
                "label_ts": near.valid_at + rng.choice([*edges, rng.randrange(DAY)]),
                "number": number,
            }
            made.append(
                {**made[-1], "number": number} if made and rng.random() < 0.05 else row
            )
        return made


def clock_of(wave):
    """The data clock during a wave."""
    return BEGIN + dt.timedelta(days=wave + 1)


def write(path, rows, times, rng):
    """A file of the format that its name says; times as text in CSV and JSON lines, in every form that is allowed."""

    def told(row):
        zones = ["Z", "", "+02:00"]
        return {
            n: text(v, rng.choice(zones)) if n in times else v for n, v in row.items()
        }

    if path.suffix == ".parquet":
        stamp = pa.timestamp("us", tz="UTC")
        table = pa.Table.from_pylist(rows)
        for name in times:
            at = table.column_names.index(name)
            table = table.set_column(
                at, name, table.column(name).cast(pa.int64()).cast(stamp)
            )
        pq.write_table(table, path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(told(row)) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            out = csv.DictWriter(file, list(rows[0]))
            out.writeheader()
            for row in rows:
                out.writerow({name: plain(value) for name, value in told(row).items()})


def plain(value):
    """A value as CSV has it."""
    return str(value).lower() if isinstance(value, bool) else value


def read(path):
    """The rows of a training set."""
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    return [json.loads(line) for line in path.read_text().splitlines()]
