"""The doors of training sets: label files, views as of each label's moment, predictions for a set."""

import json

import parquets
import pyarrow as pa
import pyarrow.parquet as pq
import read
from asked import COLUMNS, OUTPUTS, outputs_of
from project import ENDINGS, UPLOADED
from values import FEATURES, TYPES, Values
from written import canonical, csv_cell, json_cell

LABELS = {"number": "int", "note": "string", "whole": "int", "part": "float"}
"""Columns of label files that are neither keys nor times, whose types are guessed."""
VIEWS = [f"last_{name}" for name in UPLOADED]
SERVICE = "tidemill.features.v1.HistoricalFeatureService"
SET = LABELS | {
    f"{name}_{feature}": TYPES[feature] for name in UPLOADED for feature in FEATURES
}
"""Columns of training sets."""


def label_rows(rows, rng):
    """A label for each row, at its moment, in another order; with columns whose types are guessed."""
    values = Values(rng)
    drawn = [
        {"note": values.text(), "whole": values.int(), "part": values.float()}
        for _ in rows
    ]
    order = rng.sample(rows, len(rows))
    return [
        {"number": number, "id": row["id"], "label_ts": row["at"], **more}
        for number, (row, more) in enumerate(zip(order, drawn, strict=True))
    ]


def write_labels(path, labels, types, rng):
    """A file of labels; what has no declared type is written plainly."""
    if path.suffix == ".parquet":
        columns = {
            name: parquets.array(
                [parquets.number_of(row[name]) for row in labels],
                kind,
                parquets.PLAIN[kind],
            )
            for name, kind in types.items()
        }
        pq.write_table(pa.table(columns), path)
        return

    def plain(name, value):
        return repr(value) if name in ("number", "whole", "part") else None

    lines = [] if path.suffix == ".jsonl" else [",".join(types)]
    for row in labels:
        if path.suffix == ".jsonl":
            cells = {
                n: plain(n, row[n]) or json_cell(row[n], kind, rng)
                for n, kind in types.items()
            }
            cells["note"] = json.dumps(row["note"]) if "note" in row else None
            told = ", ".join(
                f"{json.dumps(name)}: {cell}"
                for name, cell in cells.items()
                if cell is not None
            )
            lines.append("{" + told + "}")
        else:
            lines.append(
                ",".join(
                    plain(n, row[n]) or csv_cell(row[n], kind, rng)
                    for n, kind in types.items()
                )
            )
    path.write_text("\n".join(lines) + "\n", newline="")


def by_view(row):
    """What every view has of a row."""
    names = [(name, feature) for name in UPLOADED for feature in FEATURES]
    return {f"{name}_{feature}": row[feature] for name, feature in names}


def build_all(world, tally, rows, expected, rng):
    """Training sets from labels of each format into each format."""
    wanted = {row["id"]: by_view(row) for row in expected}
    declared = {"id": "int", "label_ts": "timestamp"}
    for labels, ending in [("csv", "parquet"), ("jsonl", "csv"), ("parquet", "jsonl")]:
        asked = label_rows(rows, rng)
        file, out = world.folder / f"labels.{labels}", world.folder / f"set.{ending}"
        write_labels(file, asked, declared | LABELS, rng)
        build(world, file, ",".join(VIEWS), out)
        found = read.file(out, declared | SET)
        told = [row | wanted[row["id"]] for row in asked]
        tally.rows(f"labels {labels} > dataset > {ending}", found, told)


def learn(world, tally, expected):
    """A training set of a pipeline, and a model's predictions for it."""
    world.run("run", "learn", "--wait")
    types = {"id": "int", "g": "float"}
    types |= {name: kind for name, kind in SET.items() if name not in LABELS}
    learnt = [{"id": row["id"], "g": row["g"], **by_view(row)} for row in expected]
    predicted = {"id": "int", **OUTPUTS}
    answers = []
    for row in expected:
        saw = {f"csv_{name}": canonical(row[name]) for name in FEATURES}
        answers.append({"id": row["id"], "saw": saw, **outputs_of(row)})
    for ending in ENDINGS:
        found = read.file(world.folder / f"learnt.{ending}", types)
        tally.by_id(f"upload > dataset step > export {ending}", found, learnt)
        found = read.file(world.folder / f"predictions.{ending}", predicted)
        found = [row | {"saw": json.loads(row["saw"])} for row in found]
        tally.by_id(f"upload > predictions > export {ending}", found, answers)


def build(world, labels, inputs, out):
    """A training set by the command line."""
    flags = ["--labels", labels, "--inputs", inputs, "--out", out]
    world.run("datasets", "build", *flags)


def asked_for(world, tally, asked, rng):
    """Training sets of a model whose keys are of every type, with columns that only a caller knows."""
    types = COLUMNS | {"label_ts": "timestamp"}
    written = {name: kind for name, kind in types.items() if name not in ("id", "f")}
    for labels, ending in [("csv", "jsonl"), ("jsonl", "parquet"), ("parquet", "csv")]:
        sent = [
            {**key, **given, "label_ts": moment}
            for key, given, moment in zip(
                asked.keys, asked.given, asked.moments, strict=True
            )
        ]
        file = world.folder / f"requests.{labels}"
        out = world.folder / f"requested.{ending}"
        write_labels(file, sent, written, rng)
        build(world, file, "echo", out)
        found = read.file(out, COLUMNS)
        tally.rows(f"labels {labels} > keys, request > {ending}", found, asked.wanted)


def historical(world, tally, rows, expected, rng):
    """Features at a moment over gRPC, from and to Arrow."""
    labels, wanted = label_rows(rows, rng), {row["id"]: row for row in expected}
    moments = [parquets.number_of(row["label_ts"]) for row in labels]
    columns = {
        "id": [row["id"] for row in labels],
        "label_ts": parquets.array(moments, "timestamp", parquets.PLAIN["timestamp"]),
    }
    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    service = world.grpc("server", SERVICE)
    request = service.message("GetHistoricalFeatures")
    request.features.extend(VIEWS)
    request.labels = sink.getvalue().to_pybytes()
    answer = b"".join(
        chunk.arrow for chunk in service.call("GetHistoricalFeatures", request)
    )
    types = {name: kind for name, kind in SET.items() if name not in LABELS}
    found = read.arrow(pa.ipc.open_stream(answer).read_all(), types)
    told = [by_view(wanted[row["id"]]) for row in labels]
    tally.rows("features at a moment, gRPC", found, told)
