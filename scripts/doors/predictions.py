"""The doors of predictions: keys, columns that only a caller knows, features and outputs of every type."""

import json

import read
from asked import COLUMNS, GIVEN, NOTHING, OUTPUTS, outputs_of
from values import WORDS
from world import plain, refusal
from written import (
    argument,
    canonical,
    read_json,
    read_wire,
    request_json,
    wire_value,
)

PATH = "/v1/models/echo:predict"
SERVICE = "tidemill.serving.v1.PredictionService"


def rest(world, tally, asked, count):
    """Over REST."""
    for keys, given, wanted in asked.batches(count, request_json, world.rng):
        body = {"entities": keys, "request": given, "want_features": True}
        body = json.dumps(body, ensure_ascii=world.rng.random() < 0.5)
        reply = world.serve.post(PATH, body)
        for one, vector in zip(reply["predictions"], wanted, strict=True):
            answer(tally, "predict, REST", shown(vector), one, vector)


def command(world, tally, asked, count):
    """On the command line. An argument can't be null: it is left out."""
    sent = list(zip(asked.keys, asked.given, asked.wanted, strict=True))[:count]
    # Every awkward word, too: as text it is what it is.
    keys, _, vector = sent[0]
    nothing = dict.fromkeys(GIVEN)
    for word in WORDS:
        given = nothing | {"rs": word}
        sent.append((keys, given, vector | given))
    commands = []
    for keys, given, _ in sent:
        words = ["predict", "echo", "--features"]
        for flag, values in (("--entity", keys), ("--request", given)):
            for name, value in values.items():
                if value is not None:
                    told = argument(value, COLUMNS[name], world.rng)
                    words += [flag, f"{name}={told}"]
        commands.append(words)
    wanted = [vector for *_, vector in sent]
    for words, reply, vector in world.many(commands, wanted):
        if "error" in reply:
            tally.wrong("predict", f"{words}: {reply['error']['message']}")
        else:
            answer(tally, "predict", words, reply["predictions"][0], vector)


def answer(tally, door, place, one, vector):
    """One prediction in JSON."""
    outputs, seen = one["outputs"], one["features"]
    outputs = {name: read_json(outputs[name], kind) for name, kind in OUTPUTS.items()}
    seen = {name: read_json(seen[name], kind) for name, kind in COLUMNS.items()}
    compare(tally, door, place, outputs, seen, vector)


def wire(world, tally, asked, count):
    """Over gRPC, whose outputs come twice: typed, and as a struct."""
    service = world.grpc("serve", SERVICE)
    for keys, given, wanted in asked.batches(count, wire_value, world.rng):
        reply = service.call("Predict", request(service, keys, given))
        for one, vector in zip(reply.predictions, wanted, strict=True):
            typed, struct = one.typed_outputs, struct_of(one.outputs, OUTPUTS)
            typed = {
                name: read.wire(typed[name], kind) for name, kind in OUTPUTS.items()
            }
            seen = struct_of(one.features, COLUMNS)
            compare(tally, "predict, gRPC", shown(vector), typed, seen, vector)
            told = outputs_of(given_of(vector))
            tally.row("predict, gRPC: outputs as a struct", shown(vector), struct, told)


def request(service, keys, given):
    """A request over gRPC."""
    message = service.message("Predict")
    message.model, message.want_features = "echo", True
    for structs, maps in ((message.entities, keys), (message.request, given)):
        for one in maps:
            structs.add().update(one)
    return message


def failed(service, keys, given):
    """What is said over gRPC where a call must fail; `None` if it doesn't."""
    return refusal(lambda: service.call("Predict", request(service, keys, given)))


def struct_of(struct, types):
    """The values of a gRPC struct."""
    values = {name: plain(value) for name, value in struct.fields.items()}
    return {name: read_wire(values[name], kind) for name, kind in types.items()}


def compare(tally, door, place, outputs, seen, vector):
    """One prediction: the vector as the reply tells it, the outputs, and what the model itself saw."""
    saw = outputs.pop("saw")
    saw = json.loads(saw) if isinstance(saw, str) else {}
    told = {name: canonical(vector[name]) for name in COLUMNS}
    tally.row(f"{door}: seen by the model", place, saw, told)
    tally.row(f"{door}: outputs", place, outputs, outputs_of(given_of(vector)))
    tally.row(f"{door}: features in the reply", place, seen, vector)


def given_of(vector):
    """What only the caller knew, which the model gives back."""
    return {name: vector[f"r{name}"] for name in NOTHING}


def shown(vector):
    """Which prediction it is."""
    return f"the prediction for id {vector['id']}"
