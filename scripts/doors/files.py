"""Rows as files for uploads, with bad rows among them, and the places at which those must be refused."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from values import STRICT, TYPES
from written import csv_cell, json_cell

FINITE = "is not a finite number"
NO_INT = [
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "1.5",
    "1e3x",
    "0x10",
]
NO_FLOAT = [
    *((text, FINITE) for text in ("inf", "-Infinity", "1e400", "-1e309")),
    *((text, "") for text in ("1_000", "1.5.2", "0x1p3", "1;5")),
]
NO_YEAR = ["10000-01-01", "+10000-01-01", "0000-12-31", "-0001-01-01"]
NO_TIME = [
    *(f"{day}T10:00:00Z" for day in NO_YEAR),
    *("0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59.9-00:01"),
    *("2024-02-30T00:00:00Z", "2024-05-02T24:00:01Z", "2024-05-02T10:00:00+24:00"),
    *("2024-05-02T10:00:00X", "noon"),
]
NO_DATE = [*NO_YEAR, "2023-02-29", "2024-05-02T10:00:00", "May 2"]
NO_BOOL = ["yes", "2", "truth"]


@dataclass
class Bad:
    """A value that its column can't hold."""

    column: str
    written: Any
    reason: str = ""
    """What must be told of it, besides the column."""
    line_alone: bool = False
    """Whether the line as a whole can't be read, so that no column can be told."""

    def words(self, line):
        """What must be told of it."""
        if self.line_alone:
            return [f"line {line},", self.reason]
        column = f"`{self.column}`"
        return [f"line {line},", f"column {column}:", f": {column}", self.reason]


@dataclass
class File:
    """A file, and what must be refused of it."""

    path: Path
    bad: list = field(default_factory=list)
    """Of each bad row: its number and its line, both from 1 (Parquet has no lines), and what is bad of it."""


def bad_text():
    """What neither CSV nor text of JSON can say."""
    texts = [
        Bad(c, w)
        for c, ws in [("i", NO_INT), ("id", NO_INT), ("t", NO_TIME), ("at", NO_TIME)]
        for w in ws
    ]
    texts += [Bad(c, w, reason) for c in ("f", "g") for w, reason in NO_FLOAT]
    texts += [Bad("d", w) for w in NO_DATE] + [Bad("b", w) for w in NO_BOOL]
    texts += [Bad(c, w) for c in STRICT for w in ("", "null")]
    return [*texts, Bad("g", "NaN", FINITE), Bad("g", "-nan", FINITE)]


def among(rows, bad, rng):
    """Good rows with bad ones at random places: `(row, Bad or None)`."""
    mixed = [(row, None) for row in rows]
    for one in bad:
        mixed.insert(rng.randrange(len(mixed) + 1), (rng.choice(rows), one))
    return mixed


def write_csv(path, rows, rng):
    """A CSV of rows, its columns in any order, lines ended in both ways."""
    names = rng.sample(list(TYPES), len(TYPES))
    bad = [
        *bad_text(),
        Bad("s", b'"a\0b"'),
        Bad("s", b"\0"),
        Bad("s", b"a\xffb", "is not UTF-8", line_alone=True),
        Bad("s", b'"\xed\xa0\x80"', "is not UTF-8", line_alone=True),
    ]
    file, parts, line = File(path), [",".join(names).encode() + b"\n"], 2
    for number, (row, wrong) in enumerate(among(rows, bad, rng), 1):
        cells = {name: csv_cell(row[name], TYPES[name], rng).encode() for name in names}
        if wrong:
            told = wrong.written
            cells[wrong.column] = told if isinstance(told, bytes) else told.encode()
            file.bad.append((number, line, wrong))
        elif row["f"] is None and rng.random() < 0.5:
            cells["f"] = rng.choice([b"NaN", b"nan", b"-NaN"])
        told = b",".join(cells[name] for name in names) + rng.choice([b"\n", b"\r\n"])
        parts.append(told)
        line += told.count(b"\n")
    path.write_bytes(b"".join(parts))
    return file


def write_jsonl(path, rows, rng):
    """JSON lines, of a null sometimes not even the name."""
    file, lines = File(path), []
    bad = [Bad(one.column, json.dumps(one.written), one.reason) for one in bad_text()]
    bad += [Bad("i", cell) for cell in ("9223372036854775808", "1.5", "true")]
    bad += [Bad("s", '"a\\u0000b"'), Bad("f", "1e400", FINITE), Bad("id", "null")]
    bad += [Bad("t", "1714644000"), Bad("d", "20240502"), Bad("b", "2")]
    for number, (row, wrong) in enumerate(among(rows, bad, rng), 1):
        cells = {
            name: json_cell(row[name], TYPES[name], rng)
            for name in rng.sample(list(TYPES), len(TYPES))
        }
        if wrong:
            cells[wrong.column] = wrong.written
            file.bad.append((number, number, wrong))
        elif row["f"] is None and rng.random() < 0.5:
            cells["f"] = '"NaN"'
        told = ", ".join(
            f"{json.dumps(name)}: {cell}"
            for name, cell in cells.items()
            if cell is not None
        )
        lines.append("{" + told + "}")
    path.write_text("\n".join(lines) + "\n", newline="")
    return file
