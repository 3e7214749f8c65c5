"""The doors of tables: uploads in three formats, exports, and uploads of exports."""

import files
import parquets
import pyarrow.parquet as pq
import read
from project import COPIES, ENDINGS, UPLOADED
from values import FEATURES, TYPES
from written import records


def upload(world, tally, rows, rng, shift):
    """Uploads the rows by each format, and checks what was refused; places are shifted to see that it can fail."""
    made = {
        "csv": [files.write_csv(world.folder / "in.csv", rows, rng)],
        "jsonl": [files.write_jsonl(world.folder / "in.jsonl", rows, rng)],
        "parquet": parquets.write(world.folder, rows, rng),
    }
    for name, written in made.items():
        source, door = f"by_{name}", f"upload {name}"
        paths = [file.path for file in written]
        done = world.json("sources", "upload", source, *paths)
        letters = world.json("sources", "dead-letters", source, "--limit", 1000)
        for file, one in zip(written, done, strict=True):
            upload = one["upload_id"]
            own = [letter for letter in letters if letter["upload"] == upload]
            refused(tally, door, file, own, shift)
            if name != "parquet":
                report = world.rest.get(f"/v1/uploads/{upload}")
                place = "the report of times without a zone"
                tally.value(door, place, report["naive_timestamps"], True)


def refused(tally, door, file, letters, shift):
    """Every bad row, and no other, is a dead letter with its place."""
    letters = {int(letter["row"]): letter for letter in letters}
    for number, line, bad in file.bad:
        place = f"{file.path.name}, row {number}, `{bad.column}` {bad.written!r}"
        letter = letters.pop(number + shift, None)
        if letter:
            column, reason = letter["column"], letter["reason"]
            letter = f"line {letter['line']}, column `{column}`: {reason}"
        tally.refusal(door, place, letter, bad.words(line))
    for number, letter in letters.items():
        what = f"{letter['reason']} {letter['raw']!r:.300}"
        tally.wrong(door, f"{file.path.name}: row {number} was refused: {what}")


def export(world, tally, expected):
    """Every table as files."""
    world.run("run", "leave", "--wait")
    types = {"id": "int"} | {f"csv_{name}": TYPES[name] for name in FEATURES}
    view = [
        {name: row[name.removeprefix("csv_")] for name in types} for row in expected
    ]
    for ending in ENDINGS:
        for name in UPLOADED:
            found = read.file(world.folder / f"by_{name}.{ending}", TYPES)
            tally.by_id(f"upload {name} > export {ending}", found, expected)
        found = read.file(world.folder / f"sql.{ending}", TYPES)
        tally.by_id(f"upload jsonl > sql {ending}", found, expected)
        found = read.file(world.folder / f"view.{ending}", types)
        tally.by_id(f"upload csv > view > export {ending}", found, view)


def upload_exports(world, tally, expected):
    """Exports uploaded to other sources, and written again: the same, also as they are written."""
    files = {name: world.folder / f"by_{name}.{name}" for name in COPIES}
    doors = {name: f"export {name} > upload > export" for name in COPIES}
    for name, file in files.items():
        (done,) = world.json("sources", "upload", f"copy_{name}", file)
        if done["dead_letters"] != "0":
            tally.wrong(doors[name], f"{done['dead_letters']} rows were refused")
    world.run("run", "leave_copies", "--wait")
    for name, first in files.items():
        again = world.folder / f"copy_{name}.{name}"
        tally.by_id(doors[name], read.file(again, TYPES), expected)
        if texts(first) != texts(again):
            tally.wrong(doors[name], "the two files are not written alike")


def texts(path):
    """The declared columns of an export, as they are written."""
    if path.suffix == ".parquet":
        return pq.ParquetFile(path).read().select(list(TYPES)).sort_by("id")
    header, *rest = records(path.read_bytes().decode())
    places = [place for place, (name, _) in enumerate(header) if name in TYPES]
    return sorted([row[place] for place in places] for row in rest)
