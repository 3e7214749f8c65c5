"""Rows as Parquet: of our types, and of other types that hold the same."""

import datetime as dt
import math

import pyarrow as pa
import pyarrow.parquet as pq
from files import FINITE, Bad, File, among
from values import FIRST, LAST, STRICT, TYPES, micros

PLAIN = {
    "int": pa.int64(),
    "float": pa.float64(),
    "string": pa.string(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
"""Arrow's types of ours."""
NUMBERS = {"timestamp": pa.int64(), "date": pa.int32()}
"""What times and days are written by, so that those beyond the calendar can be, too."""
YEAR = 366 * 86_400 * 1_000_000
BAD = [
    *(Bad("f", value, FINITE) for value in (math.inf, -math.inf)),
    *(Bad("g", value, FINITE) for value in (math.nan, math.inf)),
    *(Bad("t", at) for at in (FIRST - 1, FIRST - YEAR, LAST + 1, LAST + YEAR)),
    *(Bad("at", at) for at in (FIRST - 1, LAST + 1)),
    *(Bad("d", day) for day in (-719_163, 2_932_897, 3_000_000)),
    *(Bad("s", text) for text in ("a\0b", "\0")),
    *(Bad(name, None) for name in STRICT),
]
"""What our own types hold in Arrow, and not here."""
OTHER = {
    "s": pa.binary(),
    "b": pa.int8(),
    "d": pa.timestamp("ms"),
    "t": pa.timestamp("ns"),
    "at": pa.timestamp("ns", tz="UTC"),
}
OTHER_BAD = [Bad("s", b"a\xff"), Bad("s", b"a\0"), Bad("b", 2), Bad("b", -1)]
UNSIGNED = {
    "i": pa.uint64(),
    "s": pa.dictionary(pa.int32(), pa.large_string()),
    "t": pa.timestamp("us", tz="Asia/Kolkata"),
}
UNSIGNED_BAD = [Bad("i", 2**63), Bad("i", 2**64 - 1)]
DECIMAL = {"i": pa.decimal128(38, 0)}
DECIMAL_BAD = [Bad("i", 2**63), Bad("i", -(2**63) - 1), Bad("i", 10**30)]


def write(folder, rows, rng):
    """Each row in one of four files."""
    # Nanoseconds in 64 bits have these years.
    near = [
        row
        for row in rows
        if all(row[n] is None or 1678 <= row[n].year < 2262 for n in ("t", "at"))
    ]
    fine = {row["id"] for row in near[: len(near) // 2]}
    plain, other, unsigned, decimal = [], [], [], []
    for row in rows:
        if row["id"] in fine:
            other.append(row)
        elif rng.random() < 0.5:
            plain.append(row)
        else:
            negative = row["i"] is not None and row["i"] < 0
            (decimal if negative else unsigned).append(row)
    return [
        file(folder / "in-plain.parquet", plain, {}, BAD, rng),
        file(folder / "in-other.parquet", other, OTHER, OTHER_BAD, rng),
        file(folder / "in-unsigned.parquet", unsigned, UNSIGNED, UNSIGNED_BAD, rng),
        file(folder / "in-decimal.parquet", decimal, DECIMAL, DECIMAL_BAD, rng),
    ]


def file(path, rows, types, bad, rng):
    """A file with bad rows among the others; `types` are those that are not ours."""
    mixed = among(rows, bad, rng)
    columns = {}
    for name, kind in TYPES.items():
        data_type = types.get(name, PLAIN[kind])
        values = [
            wrong.written
            if wrong and wrong.column == name
            else cell(row[name], name, data_type, rng)
            for row, wrong in mixed
        ]
        columns[name] = array(values, kind, data_type)
    pq.write_table(pa.table(columns), path)
    places = enumerate(mixed, 1)
    return File(path, [(number, None, wrong) for number, (_, wrong) in places if wrong])


def cell(value, name, data_type, rng):
    """A value as Arrow takes it."""
    if value is None:
        return math.nan if name == "f" and rng.random() < 0.5 else None
    if data_type == pa.int8():
        return int(value)
    number = number_of(value)
    if pa.types.is_timestamp(data_type) and data_type.unit == "ns":
        return number * 1000 + rng.randrange(1000)  # finer digits go
    return number


def number_of(value):
    """A time or a day as Arrow's number of it."""
    if isinstance(value, dt.datetime):
        return micros(value)
    return (value - dt.date(1970, 1, 1)).days if isinstance(value, dt.date) else value


def array(values, kind, data_type):
    """A column, times and days from their numbers."""
    if kind not in NUMBERS:
        return pa.array(values, data_type, from_pandas=False)
    numbers = pa.array(values, NUMBERS[kind])
    return numbers.cast(PLAIN["date"] if kind == "date" else data_type).cast(data_type)
