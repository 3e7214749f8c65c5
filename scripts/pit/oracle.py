"""The point-in-time contract in plain Python: every value by looking at every row. No SQL, no order, no index.

Times are whole microseconds since 1970. A row is a `Row`; what is asked is a key, a moment `t`, and which rows count
(`known`: any row, those accepted by `t`, or those accepted by a fixed instant).
"""

from dataclasses import dataclass, field
from typing import Any

SECOND = 1_000_000
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND


@dataclass
class Row:
    """A row of a source as the lake has it."""

    columns: dict[str, Any]
    key: tuple
    valid_at: int
    created_at: int
    seq: tuple
    """Which upload, and which row of it."""
    deleted: bool = False

    @property
    def order(self):
        """The total order of all rows."""
        return (self.valid_at, self.created_at, self.seq)


@dataclass(frozen=True)
class Known:
    """Which rows count, by when they were accepted."""

    mode: str = "any"
    """`any`, `label` (accepted by the asked moment) or `fixed`."""
    at: int = 0

    def counts(self, row, t):
        """Whether a row is known at a moment."""
        limit = {"any": row.created_at, "label": t, "fixed": self.at}[self.mode]
        return row.valid_at <= t and row.created_at <= limit


def last(rows, unique, key, t, ttl, known):
    """The last row of an entity, if it is neither deleted nor older than `ttl`, both ends included.

    Of rows that share `unique` the newest counts, if it is not deleted; it keeps the place of the first of them.
    """
    if None in key:
        return None
    rows = sorted(
        (row for row in rows if known.counts(row, t)), key=lambda row: row.order
    )
    if unique:
        places, events = {}, {}
        for row in rows:
            event = tuple(row.columns[name] for name in unique)
            places.setdefault(event, row.order)
            events[event] = row
        living = [
            event for event, row in events.items() if row.key == key and not row.deleted
        ]
        found = events[max(living, key=places.get)] if living else None
    else:
        found = next((row for row in reversed(rows) if row.key == key), None)
    if found is None or found.deleted:
        return None
    if ttl is not None and t - found.valid_at > ttl:
        return None
    return found


@dataclass
class LastView:
    """The last row's columns, or something computed from them."""

    rows: list
    features: dict[str, Any]
    """By name: a function of the row and the moment."""
    ttl: int | None = None
    unique: tuple = ()
    defaults: dict[str, Any] = field(default_factory=dict)

    def at(self, key, t, known):
        """All features at a moment."""
        row = last(self.rows, self.unique, key, t, self.ttl, known)
        if row is None:
            return {name: self.defaults.get(name) for name in self.features}
        return {name: rule(row, t) for name, rule in self.features.items()}


@dataclass
class Window:
    """One aggregate over `(t - length, t]`, its tail floored to the hop."""

    aggregate: str
    column: str | None
    length: int
    hop: int

    def of(self, rows, t):
        """Its value over the rows that count, which come in their order."""
        tail = (t - self.length) // self.hop * self.hop
        rows = [row for row in rows if row.valid_at > tail]
        if self.column is None:
            return len(rows)
        values = [row.columns[self.column] for row in rows]
        values = [value for value in values if value is not None]
        if self.aggregate == "count":
            return len(values)
        if not values:
            return None
        if self.aggregate == "mean":
            return sum(values) / len(values)
        return {"sum": sum, "min": min, "max": max}[self.aggregate](values)


@dataclass
class WindowView:
    """Windows over a source; of rows that share `unique` the newest counts."""

    rows: list
    features: dict[str, Window]
    unique: tuple = ()
    defaults: dict[str, Any] = field(default_factory=dict)

    def at(self, key, t, known):
        """All features at a moment."""
        rows = self.counted(key, t, known)
        values = {name: window.of(rows, t) for name, window in self.features.items()}
        return {
            name: self.defaults.get(name) if value is None else value
            for name, value in values.items()
        }

    def counted(self, key, t, known):
        """The key's rows known by then that no other replaces, in their order."""
        if None in key:
            return []
        rows = [row for row in self.rows if known.counts(row, t)]
        if self.unique:
            last = {}
            for row in rows:
                event = tuple(row.columns[name] for name in self.unique)
                if event not in last or row.order > last[event].order:
                    last[event] = row
            rows = list(last.values())
        rows = [row for row in rows if row.key == key and not row.deleted]
        return sorted(rows, key=lambda row: row.order)


@dataclass
class Input:
    """A view that another reads, in a role and by a key that follows from what is known so far."""

    view: Any
    key: Any
    """A function of the reader's key and of the features of the inputs before."""
    role: str | None = None


@dataclass
class DerivedView:
    """Expressions over the inputs at the very moment that is asked."""

    inputs: list
    features: dict[str, Any]
    """By name: a function of the inputs' features."""
    defaults: dict[str, Any] = field(default_factory=dict)

    def at(self, key, t, known):
        """All features at a moment."""
        values = {}
        for read in self.inputs:
            prefix = f"{read.role}_" if read.role else ""
            found = read.view.at(read.key(key, values), t, known)
            values |= {prefix + name: value for name, value in found.items()}
        computed = {name: rule(values) for name, rule in self.features.items()}
        return {
            name: self.defaults.get(name) if value is None else value
            for name, value in computed.items()
        }


def agree(got, expected):
    """Equal, but for the last bits of a sum of floats."""
    if isinstance(expected, float) and isinstance(got, int | float):
        return abs(got - expected) <= 1e-12 * max(abs(expected), abs(got), 1e-300)
    return type(got) is type(expected) and got == expected
