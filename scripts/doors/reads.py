"""The doors of features: now and at a moment, over REST, gRPC and the command line."""

import json

from datasets import VIEWS
from project import UPLOADED
from values import FEATURES, TYPES
from world import plain, refusal
from written import argument, read_json, read_wire, request_json, wire_value

SERVICE = "tidemill.features.v1.FeatureService"


def wire(world, tally, rows, expected):
    """The newest values over gRPC."""
    service = world.grpc("serve", SERVICE)
    for start in range(0, len(rows), 1000):
        request = service.message("GetOnlineFeatures")
        request.features.extend(VIEWS)
        for row in rows[start : start + 1000]:
            key = wire_value(row["id"], "int", world.rng)
            request.entities.add().update({"id": key})
        reply = service.call("GetOnlineFeatures", request)
        wanted = expected[start : start + 1000]
        for entity, row in zip(reply.entities, wanted, strict=True):
            views = [
                {name: plain(value) for name, value in view.values.fields.items()}
                for view in entity.views
            ]
            compare(tally, "features now, gRPC", views, read_wire, row)


def failed(service, key):
    """What is said over gRPC of a key of the view `whole` that must be refused; `None` if it isn't."""
    request = service.message("GetOnlineFeatures")
    request.features.append("whole")
    request.entities.add().update(key)
    return refusal(lambda: service.call("GetOnlineFeatures", request))


def rest(world, tally, rows, expected, now, then):
    """The newest values, and those at a moment, over REST."""
    for place, (row, wanted) in enumerate(zip(rows[:now], expected, strict=False)):
        key = request_json(row["id"], "int", world.rng)
        body = {"views": VIEWS, "entity": {"id": key}}
        views = values(world.rest.post("/v1/features/get", json.dumps(body)))
        compare(tally, "features now, REST", views, read_json, wanted)
        if place < then:
            body["at"] = request_json(row["at"], "timestamp", world.rng)
            views = values(world.rest.post("/v1/features/get", json.dumps(body)))
            compare(tally, "features at a moment, REST", views, read_json, wanted)


def command(world, tally, rows, expected, count):
    """The same on the command line, and all that an entity ever had."""
    views = [part for view in VIEWS for part in ("--view", view)]
    commands, wanted = [], []
    for row, told in zip(rows[:count], expected, strict=False):
        entity = ["--entity", f"id={row['id']}"]
        at = argument(row["at"], "timestamp", world.rng)
        commands.append(["features", "get", *views, *entity])
        commands.append(["features", "get", *views, *entity, "--at", at])
        commands.append(["features", "history", "last_csv", *entity])
        wanted += [told] * 3
    for words, reply, row in world.many(commands, wanted):
        door = " ".join(words.split()[:2])
        if isinstance(reply, list):
            compare(tally, door, reply, read_json, row)
        elif "error" in reply:
            tally.wrong(door, f"{words}: {reply['error']['message']}")
        else:
            compare(tally, door, values(reply), read_json, row)


def values(reply):
    """The values of each view in a reply."""
    return [view["values"] for view in reply["views"]]


def compare(tally, door, views, reading, row):
    """The views of one entity, in order, each with the same values."""
    for view, name in zip(views, UPLOADED, strict=False):
        names = {f"{name}_{feature}": feature for feature in FEATURES}
        got = {
            named: reading(view.get(named, "nothing"), TYPES[feature])
            for named, feature in names.items()
        }
        wanted = {named: row[feature] for named, feature in names.items()}
        tally.row(door, f"id {row['id']}", got, wanted)
