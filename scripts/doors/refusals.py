"""What a column can't hold, sent through the doors of requests: each must refuse it and say where it is."""

import json
import math

import predictions
import reads
from asked import GIVEN
from files import NO_DATE, NO_TIME
from values import KEYS, TYPES
from written import argument, request_json, wire_value

MOMENT = "2024-05-02T10:00:00Z"
NO_VALUES = {
    "f": ["NaN", "Infinity", "1.5", True],
    "i": [
        1.5,
        2**63,
        -(2**63) - 1,
        2**64,
        1e300,
        "9223372036854775808",
        "1.5",
        "x",
        "",
        True,
    ],
    "s": ["a\0b", "\0", 7, 1.5, True],
    "t": [*NO_TIME, 1714644000, True, ""],
    "d": [*NO_DATE, 20240502, ""],
    "b": ["yes", 1, 0],
}
"""What a column of a request doesn't hold, in JSON."""


class Plain:
    """Instead of random forms the first one."""

    @staticmethod
    def random():
        """No rare form."""
        return 0.9

    @staticmethod
    def choice(of):
        """The first."""
        return of[0]


def of_predictions(world, tally, asked):
    """REST and gRPC, with entity and column."""
    service = world.grpc("serve", predictions.SERVICE)
    for what, keys, given, words in bad_requests(asked):
        body = json.dumps({"entities": keys, "request": given})
        said = failed(world.serve, predictions.PATH, body)
        tally.refusal("predict, REST", what, said, [json.dumps(w)[1:-1] for w in words])
        said = predictions.failed(service, keys, given)
        tally.refusal("predict, gRPC", what, said, words)
    keys, _ = asked.sent(0, 2, wire_value, Plain)
    for value in (math.inf, -math.inf, math.nan):
        for column in ("rf", "ri"):
            said = predictions.failed(service, keys, [{}, {column: value}])
            words = ["TM0833", "entity 1", f"`{column}`"]
            tally.refusal("predict, gRPC", f"`{column}` {value!r}", said, words)
    keys, _ = asked.sent(0, 1, request_json, Plain)
    for number in ("1e400", "-1e400"):
        body = f'{{"entities": {json.dumps(keys)}, "request": [{{"rf": {number}}}]}}'
        said = failed(world.serve, predictions.PATH, body)
        tally.refusal("predict, REST", f"`rf` {number}", said, ["TM0834"])


def bad_requests(asked):
    """(what, keys, given, the words that must be told): one bad value among three entities."""

    def sent():
        return asked.sent(0, 3, wire_value, Plain)

    for column, values in NO_VALUES.items():
        for number, value in enumerate(values):
            for name in (f"r{column}", column):
                keys, given = sent()
                place = number % 3
                if name in GIVEN:
                    given[place][name] = value
                elif name in KEYS:
                    keys[place][name] = value
                else:
                    continue
                words = ["TM0833", f"entity {place}", f"`{name}`"]
                yield f"`{name}` {value!r}", keys, given, words
    for name, value in [("t", None), ("s", None), ("x", 1)]:
        keys, given = sent()
        keys[1][name] = value
        yield (
            f"key `{name}` {value!r}",
            keys,
            given,
            ["TM0832", "entity 1", f"`{name}`"],
        )


def failed(rest, path, body):
    """What is said where a call must fail; `None` if it doesn't."""
    status, reply = rest.send("POST", path, body)
    return None if status == 200 else json.dumps(reply)


def of_features(world, tally):
    """Keys that are none, asked for their features. Over REST text is read as on the command line."""
    good = {"i": 1, "s": "a", "t": MOMENT, "d": "2024-05-02", "b": True}
    service = world.grpc("serve", reads.SERVICE)
    for name in KEYS:
        for value in NO_VALUES[name]:
            what, key = f"`{name}` {value!r}", good | {name: value}
            words = ["TM0616", f"`{name}`"]
            said = reads.failed(service, key)
            tally.refusal("features now, gRPC", what, said, [f"`{name}`"])
            if isinstance(value, str) and "\0" in value:
                words = ["TM0116", f"`entity.{name}`"]
            body = json.dumps({"views": ["whole"], "entity": key})
            said = failed(world.rest, "/v1/features/get", body)
            tally.refusal("features now, REST", what, said, words)


def of_labels(world, tally):
    """Keys and moments of label files that are none, with their row."""
    bad = [("id", text) for text in ("x", "1.5", "9223372036854775808")]
    bad += [("label_ts", text) for text in NO_TIME]
    for name, text in bad:
        rows = [{"id": "1", "label_ts": MOMENT}, {"id": "2", "label_ts": MOMENT}]
        rows[1][name] = text
        lines = {
            "csv": ["id,label_ts", *(",".join(row.values()) for row in rows)],
            "jsonl": [json.dumps(row) for row in rows],
        }
        for kind, told in lines.items():
            path = f"/v1/datasets/build?format={kind}&inputs=last_csv&out=jsonl"
            said = failed(world.rest, path, "\n".join(told).encode() + b"\n")
            words = ["TM0609", f"`{name}`", "in row 2"]
            tally.refusal(f"labels {kind}", f"`{name}` {text!r}", said, words)


def of_commands(world, tally, asked):
    """The command line."""
    entity = []
    for name, value in asked.keys[0].items():
        entity += ["--entity", f"{name}={argument(value, TYPES[name], Plain)}"]
    no_int = "9223372036854775808"
    for name, text in [
        *(("rf", "nan"), ("rf", "1e400"), ("ri", no_int), ("ri", "1.5")),
        *(("rt", "noon"), ("rd", "2023-02-29"), ("rb", "yes")),
    ]:
        said = world.refused("predict", "echo", *entity, "--request", f"{name}={text}")
        tally.refusal("predict", f"`{name}` {text}", said, ["TM0833", f"`{name}`"])
    for text in ("x", "1.5", no_int, ""):
        command = ["features", "get", "--view", "last_csv", "--entity", f"id={text}"]
        said = world.refused(*command)
        tally.refusal("features get", f"`id` {text!r}", said, ["TM0616", "`id`"])
