"""Random values of each type, rows of them, and when two values are the same: by every bit."""

import datetime as dt
import math
import struct

UTC = dt.UTC
EPOCH = dt.datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = dt.timedelta(microseconds=1)
FIRST = (dt.datetime.min.replace(tzinfo=UTC) - EPOCH) // MICROSECOND
LAST = (dt.datetime.max.replace(tzinfo=UTC) - EPOCH) // MICROSECOND

TYPES = {
    "id": "int",
    "f": "float",
    "g": "float",
    "i": "int",
    "s": "string",
    "t": "timestamp",
    "d": "date",
    "b": "bool",
    "at": "timestamp",
}
"""Of the project's sources."""
STRICT = ["id", "g", "at"]
"""Columns that may not be null."""
FEATURES = ["f", "i", "s", "t", "d", "b"]
"""Of the views by `id`."""

KEYS = ["i", "s", "t", "d", "b"]
"""Of the entity `whole`."""

FLOATS = [
    *(0.0, -0.0, 0.1, 1 / 3, 1e22, 1e23, 9007199254740993.0, 2.0**63, 1e-7),
    *(5e-324, 2.2250738585072014e-308, 2.225073858507201e-308, 1.7976931348623157e308),
]
INTS = [0, -1, 7, 2**31, 2**53, 2**53 + 1, -(2**53) - 1, 2**62 + 1, 2**63 - 1, -(2**63)]
RAW_JSON = (
    *("0", "-0", "1.50", "1e5", "1E400", "12345678901234567890123", "true"),
    *('{"a":1}', '[1,2,"x"]'),
)
"""Texts that a column of text also takes for a number, a word, an object or a list of JSON."""

WORDS = [
    *RAW_JSON,
    *(
        "007",
        "NULL",
        "null",
        "None",
        "n/a",
        "nan",
        "inf",
    ),
    *(
        "FALSE",
        "2024-05-02",
        "2024-05-02T10:00:00Z",
        '"',
        '""',
        '"a"',
        "'",
        "\\",
        "\\N",
    ),
    *(
        ",",
        ";",
        "\n",
        "\r\n",
        "\r",
        "\t",
        " ",
        " a ",
        "#",
        "--",
        "$1",
        "?",
        "%00",
        "/",
        "a=b",
        "\x7f",
        "\x01",
        "\x85",
    ),
    *(
        "\u2028",
        "\ufeff",
        "\ufffd",
        "\uffff",
        "é",
        "e\u0301",
        "\u202e",
        "🦀",
        "👩\u200d🚀",
        "\U0010ffff",
        "Z",
        "&amp;",
    ),
]
"""What some reader takes for something else."""


class Values:
    """Draws values."""

    def __init__(self, rng):
        self.rng = rng

    def float(self):
        """Any finite double; what people write, and the edges, more often than by chance."""
        rng = self.rng
        if rng.random() < 0.1:
            return rng.choice(FLOATS) * rng.choice([1, -1])
        if rng.random() < 0.2:
            return rng.randrange(-(10**7), 10**7) / 100
        while True:
            (value,) = struct.unpack("<d", rng.randbytes(8))
            if math.isfinite(value):
                return value

    def int(self):
        """Any of 64 bits."""
        rng = self.rng
        if rng.random() < 0.2:
            return rng.choice(INTS)
        return rng.randrange(-(2**63), 2**63) >> rng.choice([0, 0, 0, 12, 40])

    def text(self):
        """Empty, one or several awkward words, or any characters but NUL."""
        rng = self.rng
        if rng.random() < 0.2:
            return "".join(chr(self.character()) for _ in range(rng.randrange(8)))
        return "".join(rng.choice(WORDS) for _ in range(rng.choice([0, 1, 1, 2, 3, 5])))

    def character(self):
        """Any code point that text may have."""
        while True:
            code = self.rng.randrange(1, self.rng.choice([0x80, 0x800, 0x110000]))
            if not 0xD800 <= code <= 0xDFFF:
                return code

    def instant(self, near=0.5):
        """Any microsecond of the years 1 to 9999; often one of our time, sometimes a whole second."""
        rng = self.rng
        if rng.random() < near:
            value = 1_000_000_000_000_000 + rng.randrange(700_000_000_000_000)
        else:
            value = rng.choice([FIRST, LAST, -1, rng.randrange(FIRST, LAST + 1)])
        if rng.random() < 0.2:
            value -= value % 1_000_000
        return EPOCH + max(value, FIRST) * MICROSECOND

    def of(self, type_):
        """A value of a type."""
        if type_ == "bool":
            return self.rng.random() < 0.5
        if type_ == "date":
            return self.instant().date()
        draw = {
            "float": self.float,
            "int": self.int,
            "string": self.text,
            "timestamp": self.instant,
        }
        return draw[type_]()

    def row(self, number, nulls=0.1):
        """A row of a source, some of its values null."""
        row = {name: self.of(type_) for name, type_ in TYPES.items()}
        for name in FEATURES:
            if self.rng.random() < nulls:
                row[name] = None
        return row | {"id": number, "at": self.instant(near=1)}

    def rows(self, count):
        """Rows, each of another `id` and of another whole key; the first, which is broken on purpose, has no null."""
        rows, ids, keys = [], set(), set()
        while len(rows) < count:
            row = self.row(self.int(), 0.1 if rows else 0)
            key = tuple(row[name] for name in KEYS)
            if row["id"] not in ids and key not in keys:
                rows.append(row)
                ids.add(row["id"])
                keys.add(key)
        return rows


def micros(moment):
    """Microseconds since 1970."""
    return (moment - EPOCH) // MICROSECOND


def bits(value):
    """A double as its 64 bits."""
    return struct.pack(">d", value).hex()


def same(got, expected):
    """Of one type, and equal: doubles by their bits."""
    if type(got) is not type(expected):
        return False
    return bits(got) == bits(expected) if isinstance(got, float) else got == expected


def other(value):
    """The value beside it: to see that a check can fail."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1 if value < 2**63 - 1 else value - 1
    if isinstance(value, float):
        (number,) = struct.unpack(">q", struct.pack(">d", value))
        (beside,) = struct.unpack(">d", struct.pack(">q", number ^ 1))
        return beside
    if isinstance(value, str):
        return value + "\u200b"
    step = dt.timedelta(days=1) if not isinstance(value, dt.datetime) else MICROSECOND
    return value + step if value.year < 9999 else value - step
