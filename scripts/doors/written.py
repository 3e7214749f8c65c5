"""Values as people and programs write them, in every form that the documentation allows."""

import datetime as dt
import decimal
import json
import math
import re

from values import EPOCH, RAW_JSON, bits, micros

NOTHING = ["", "null", "NULL", "None", "na", "N/A", "\\N", "  "]
"""Null in columns that are not text."""
DIGITS = decimal.Context(prec=1200)


def decimal_of(value, rng):
    """A double in digits of which it is the nearest."""
    forms = [repr(value), repr(value).upper(), f"{value:.17g}", f"{value:.25e}"]
    if 1e-9 < abs(value) < 1e9:
        forms += [
            f"{decimal.Decimal(value):f}",
            re.sub(r"^(-?)0\.", r"\1.", repr(value)),
            f"{value:.40f}",
        ]
    if value and rng.random() < 0.2:
        # Just inside of the middle between it and its neighbour: the longest way to write it.
        beside = math.nextafter(value, math.copysign(math.inf, value))
        if math.isfinite(beside):
            here, there = decimal.Decimal(value), decimal.Decimal(beside)
            share = DIGITS.multiply(
                DIGITS.subtract(there, here), decimal.Decimal("0.4999999")
            )
            forms = [f"{DIGITS.add(here, share):.800e}"]
    text = rng.choice(forms)
    return text if float(text) == value else repr(value)


def instant(value, rng, *, strict=False):
    """An instant with `Z`, an offset or none; `strict` as in RFC 3339, but that the offset may lack."""
    zone = rng.choice(["Z", "", "+00:00", "offset", "offset"])
    moment, told = value, zone
    if zone == "offset":
        minutes = rng.choice([330, -210, 60, -600, 840, rng.randrange(-1439, 1440)])
        try:
            moment = value.astimezone(dt.timezone(dt.timedelta(minutes=minutes)))
        except OverflowError:  # a year of five digits, or none
            minutes = 0
        sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
        told = f"{sign}{hours:02}:{rest:02}"
        if not strict:
            told = rng.choice(
                [told, told.replace(":", ""), told[:3] if rest == 0 else told]
            )
    elif zone == "Z" and not strict:
        told = rng.choice(["Z", "UTC", " UTC"])
    naive = moment.replace(tzinfo=None)
    day, time = (
        naive.date().isoformat(),
        naive.time().isoformat(timespec="microseconds"),
    )
    if rng.random() < 0.2:
        time += str(rng.randrange(1000))  # finer digits go
    elif rng.random() < 0.5 and time.endswith(".000000"):
        time = time[:8]
    return day + ("T" if strict else rng.choice("T ")) + time + told


def text_of(value, type_, rng):
    """A value as text in a file; not of text itself."""
    if value is None:
        return rng.choice(NOTHING)
    if type_ == "float":
        text = decimal_of(value, rng)
    elif type_ == "int":
        text = rng.choice([str(value), f"{value:+d}", f"{value}.0"])
    elif type_ == "bool":
        word = str(value)
        text = rng.choice([word, word.lower(), word.upper(), str(int(value))])
    elif type_ == "date":
        text = value.isoformat() + rng.choice(["", "", " 00:00:00", "T00:00:00"])
    else:
        text = instant(value, rng)
    return text if rng.random() < 0.8 else f" {text}  "


def csv_cell(value, type_, rng):
    """A field of CSV."""
    if type_ == "string":
        if value is None:
            return ""
        bare = value and not re.search(r'[",\r\n]', value)
        return (
            value
            if bare and rng.random() < 0.5
            else '"' + value.replace('"', '""') + '"'
        )
    text = text_of(value, type_, rng)
    return f'"{text}"' if text and rng.random() < 0.2 else text


def json_cell(value, type_, rng):
    """A value of JSON lines; `None` to leave it out."""
    if value is None:
        return rng.choice(
            [
                None,
                "null",
                "null" if type_ == "string" else json.dumps(rng.choice(NOTHING)),
            ]
        )
    if type_ == "string":
        if value in RAW_JSON and rng.random() < 0.5:
            return value
        return json.dumps(value, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.3:
        return json.dumps(text_of(value, type_, rng))
    if type_ == "float":
        text = decimal_of(value, rng)
        return (
            text
            if re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", text)
            else repr(value)
        )
    if type_ == "int":
        return rng.choice([str(value), f"{value}.0"])
    if type_ == "bool":
        return rng.choice([str(value).lower(), str(int(value))])
    return json.dumps(text_of(value, type_, rng))


def request_json(value, type_, rng):
    """A value of a request as JSON has it."""
    if value is None:
        return None
    if type_ == "int" and rng.random() < 0.5:
        return str(value)
    if type_ == "timestamp":
        return instant(value, rng, strict=True)
    return value.isoformat() if isinstance(value, dt.date) else value


def wire_value(value, type_, rng):
    """A value of a gRPC struct, whose numbers are doubles."""
    value = request_json(value, type_, rng)
    exact = (
        isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**53
    )
    return str(value) if exact else value


def argument(value, type_, rng):
    """A value on a command line."""
    if type_ == "float":
        return repr(value)
    if type_ == "bool":
        return str(value).lower()
    return str(value) if type_ == "int" else request_json(value, type_, rng)


class Number(str):
    """A number of JSON, as it is written."""


def parse_json(text):
    """JSON whose numbers keep their text."""
    return json.loads(text, parse_int=Number, parse_float=Number, parse_constant=Number)


def read_json(value, type_):
    """What JSON of a door says: the documented form, else what was there instead."""
    if value is None or isinstance(value, bool):
        return value
    if type_ == "int" and isinstance(value, Number) and re.fullmatch(r"-?\d+", value):
        return int(value)
    if type_ == "float" and isinstance(value, Number):
        return float(value)
    if isinstance(value, str) and not isinstance(value, Number):
        return read_text(value, type_)
    return value


def read_text(text, type_):
    """What text of a door says: the documented form, else the text."""
    if type_ == "date" and re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        return dt.date.fromisoformat(text)
    form = r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|\+00:00)"
    if type_ == "timestamp" and (found := re.fullmatch(form, text)):
        day, time, part, _ = found.groups()
        nanos = int(((part or ".") + "000000000")[1:10])
        if nanos % 1000 == 0:
            whole = dt.datetime.fromisoformat(f"{day}T{time}+00:00")
            return whole + dt.timedelta(microseconds=nanos // 1000)
    return text


def read_wire(value, type_):
    """What a gRPC struct's value says: ints beyond 2^53 are text of their digits."""
    if (
        type_ == "int"
        and isinstance(value, float)
        and abs(value) <= 2**53
        and value.is_integer()
    ):
        return int(value)
    if type_ == "int" and isinstance(value, str) and abs(int(value)) > 2**53:
        return int(value)
    return read_text(value, type_) if isinstance(value, str) else value


def read_csv_cell(field, type_):
    """What a field of a written CSV says: (text, whether it was quoted)."""
    text, quoted = field
    if type_ == "string":
        return text if text or quoted else None
    if not text:
        return None
    if type_ == "bool":
        return {"true": True, "false": False}.get(text, text)
    if type_ in ("int", "float"):
        return {"int": int, "float": float}[type_](text)
    return read_text(text, type_)


def records(text):
    """The records of a CSV, each a list of (text, whether it was quoted). By RFC 4180, with either line end."""
    found, record, place = [], [], 0
    field = re.compile(r'"((?:[^"]|"")*)"|([^",\r\n]*)')
    while place < len(text):
        match = field.match(text, place)
        quoted = match.group(1) is not None
        record.append(
            (match.group(1).replace('""', '"') if quoted else match.group(2), quoted)
        )
        place = match.end()
        if text.startswith(",", place):
            place += 1
            if place == len(text):
                record.append(("", False))
            continue
        if place < len(text) and text[place] not in "\r\n":
            raise ValueError(f"not CSV at {place}: {text[place : place + 20]!r}")
        place += 2 if text.startswith("\r\n", place) else 1
        found.append(record)
        record = []
    if record:
        found.append(record)
    return found


def canonical(value):
    """A value as the model in `project/echo.py` tells what it was given."""
    if value is None:
        return None
    if isinstance(value, float):
        return bits(value)
    if isinstance(value, dt.datetime):
        return str(micros(value))
    return value if isinstance(value, str | bool) else str(value)


def instant_of(micros_):
    """An instant."""
    return None if micros_ is None else EPOCH + dt.timedelta(microseconds=micros_)
