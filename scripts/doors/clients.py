"""The doors by the Python client: predictions, features of the past and now, runs, and errors with their codes."""

import asyncio

import datasets
import reads
import tidemill
from predictions import answer, shown
from written import read_json, request_json


def all_of(world, tally, rows, expected, asked, count):
    """Asks for everything that REST was asked for, by the client for plain code and by the one that is awaited."""
    with tidemill.Client(f"http://{world.places['server']}") as client:
        for keys, given, wanted in asked.batches(count, request_json, world.rng):
            told = client.predict("echo", keys, request=given, want_features=True)
            compare(tally, "predict, Python client", told, wanted)
        features(world, tally, client, rows, expected)
        runs(tally, client)
    asyncio.run(awaited(world, tally, asked, count))


async def awaited(world, tally, asked, count):
    """Batches at once."""
    async with tidemill.AsyncClient(f"http://{world.places['server']}") as client:
        batches = list(asked.batches(count, request_json, world.rng))
        calls = [
            client.predict("echo", keys, request=given, want_features=True)
            for keys, given, _ in batches
        ]
        for told, (_, _, wanted) in zip(
            await asyncio.gather(*calls), batches, strict=True
        ):
            compare(tally, "predict, Python client awaited", told, wanted)


def compare(tally, door, told, wanted):
    """Each prediction of a call."""
    for one, vector in zip(told.items, wanted, strict=True):
        if one.error:
            tally.wrong(door, f"{shown(vector)}: {one.error}")
        else:
            as_json = {"outputs": one.outputs, "features": one.features}
            answer(tally, door, shown(vector), as_json, vector)


def features(world, tally, client, rows, expected):
    """The newest values, a thousand entities a call."""
    for start in range(0, len(rows), 1000):
        part = rows[start : start + 1000]
        keys = [{"id": request_json(row["id"], "int", world.rng)} for row in part]
        told = client.online_features(datasets.VIEWS, keys)
        for entity, row in zip(told, expected[start : start + 1000], strict=True):
            views = [view.values for view in entity.views]
            reads.compare(tally, "features now, Python client", views, read_json, row)


def runs(tally, client):
    """A run that goes well, and calls that don't."""
    run = client.wait(client.start("train_repeat", key="doors/client"), timeout=300)
    again = client.start("train_repeat", key="doors/client")
    if (run.state, again.id) != ("completed", run.id):
        tally.wrong("runs, Python client", f"{run.state}, and again {again.id}")
    refused = {
        "TM0830": lambda: client.predict("ehco", {"id": 1}),
        "TM0832": lambda: client.predict("echo", {"idd": 1}),
        "TM0320": lambda: client.start("train_ehco"),
    }
    for code, call in refused.items():
        try:
            call()
            tally.wrong("errors, Python client", f"{code} was not raised")
        except tidemill.TidemillError as error:
            if error.code != code or not error.hint:
                tally.wrong("errors, Python client", f"{error}, not {code}")
