"""What the models of the project are asked, and what they must answer."""

from values import EPOCH, FEATURES, KEYS, TYPES

GIVEN = {f"r{name}": TYPES[name] for name in FEATURES}
COLUMNS = {name: TYPES[name] for name in [*KEYS, "id", "f"]} | GIVEN
"""Of the model."""
OUTPUTS = {"saw": "string"} | {f"out_{name}": TYPES[name] for name in FEATURES}
NOTHING = {"f": 0.0, "i": 0, "s": "", "t": EPOCH, "d": EPOCH.date(), "b": False}
"""What the model answers where it is given nothing."""
BATCH = 250
"""Entities of one request."""


class Asked:
    """Requests for rows that have every key, each with another row's values as those that only the caller knows."""

    def __init__(self, rows, expected, rng):
        whole = [
            place
            for place, row in enumerate(rows)
            if all(row[name] is not None for name in KEYS)
        ]
        others = rng.sample(range(len(rows)), len(rows))
        # The first row is the one that is broken on purpose.
        others[0] = 0
        self.keys, self.given, self.moments, self.wanted = [], [], [], []
        for place, other in zip(whole, others, strict=False):
            row, told = expected[place], expected[other]
            vector = {name: row[name] for name in [*KEYS, "id", "f"]}
            self.keys.append({name: rows[place][name] for name in KEYS})
            self.given.append({name: rows[other][name[1:]] for name in GIVEN})
            self.moments.append(rows[place]["at"])
            self.wanted.append(vector | {name: told[name[1:]] for name in GIVEN})

    def sent(self, start, end, form, rng):
        """Keys and given values of some, each in a form; of nulls some are left out."""
        keys = [
            {name: form(value, TYPES[name], rng) for name, value in key.items()}
            for key in self.keys[start:end]
        ]
        given = [
            {
                name: form(value, GIVEN[name], rng)
                for name, value in one.items()
                if value is not None or rng.random() < 0.5
            }
            for one in self.given[start:end]
        ]
        return keys, given

    def batches(self, count, form, rng):
        """Keys, given values and what is expected of them, some at a time."""
        count = min(count, len(self.keys))
        for start in range(0, count, BATCH):
            end = min(start + BATCH, count)
            yield *self.sent(start, end, form, rng), self.wanted[start:end]


def outputs_of(given):
    """What a model must say of what it is given."""
    return {
        f"out_{name}": nothing if given[name] is None else given[name]
        for name, nothing in NOTHING.items()
    }
