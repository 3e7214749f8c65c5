"""What was compared, door by door, and what was wrong."""

from dataclasses import dataclass

from values import same

TOLD = 5
"""How many wrong ones of a door are told."""


@dataclass
class Door:
    """The figures of one way in and out."""

    values: int = 0
    wrong: int = 0
    refused: int = 0


class Tally:
    """Counts, and keeps what to say of that which is wrong."""

    def __init__(self):
        self.doors: dict[str, Door] = {}
        self.told = []

    def door(self, name):
        """The figures of a door."""
        return self.doors.setdefault(name, Door())

    def wrong(self, name, what):
        """Something is wrong that is no value."""
        door = self.door(name)
        door.wrong += 1
        if door.wrong <= TOLD:
            self.told.append(shown(f"{name}: {what}"))

    def value(self, name, place, got, expected):
        """One value that came out."""
        self.door(name).values += 1
        if not same(got, expected):
            self.wrong(name, f"{place}: got {got!r:.200}, expected {expected!r:.200}")

    def row(self, name, place, got, expected):
        """The values of a row, by column."""
        for column, value in expected.items():
            self.value(
                name, f"`{column}` of {place}", got.get(column, "nothing"), value
            )

    def rows(self, name, got, expected):
        """Rows in their order."""
        if len(got) != len(expected):
            self.wrong(name, f"{len(got)} rows, expected {len(expected)}")
            return
        for place, (one, other) in enumerate(zip(got, expected, strict=True)):
            self.row(name, f"row {place}", one, other)

    def by_id(self, name, got, expected, key="id"):
        """Rows in any order."""
        order = {row[key]: place for place, row in enumerate(expected)}
        known = [row for row in got if row.get(key) in order]
        if len(known) != len(got):
            strange = next(row for row in got if row.get(key) not in order)
            self.wrong(name, f"a row that nobody sent: {strange!r:.300}")
        self.rows(name, sorted(known, key=lambda row: order[row[key]]), expected)

    def refusal(self, name, place, told, words):
        """Something that must be refused; `told` is what was said, `None` if it was taken."""
        self.door(name).refused += 1
        missing = [word for word in words if word not in (told or "")]
        if told is None:
            self.wrong(name, f"{place} was taken")
        elif missing:
            self.wrong(
                name,
                f"{place}: {told!r:.300} doesn't say {', '.join(map(repr, missing))}",
            )

    def table(self):
        """For people."""
        width = max(map(len, self.doors))
        lines = [f"{'door':{width}} {'values':>8} {'wrong':>6} {'refused':>8}"]
        for name, door in self.doors.items():
            lines.append(
                f"{name:{width}} {door.values:8} {door.wrong:6} {door.refused:8}"
            )
        return "\n".join(lines)


def shown(text):
    """Text whose characters do nothing to a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
