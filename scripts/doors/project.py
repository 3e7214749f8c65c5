"""The project: what differs by source alone is written here, the rest is in `project/`."""

import shutil
from pathlib import Path

from values import FEATURES, TYPES

UPLOADED = ["csv", "jsonl", "parquet"]
COPIES = ["csv", "parquet"]
ENDINGS = ["csv", "parquet"]
"""Of files that `export` and `sql` write."""

SOURCE = """---
apiVersion: tidemill/v1
kind: Source
name: {name}
columns:
  id: int
  f: {{ type: float, nullable: true }}
  g: float
  i: {{ type: int, nullable: true }}
  s: {{ type: string, nullable: true }}
  t: {{ type: timestamp, nullable: true }}
  d: {{ type: date, nullable: true }}
  b: {{ type: bool, nullable: true }}
  at: timestamp
event_time: at
"""

VIEW = """---
apiVersion: tidemill/v1
kind: FeatureView
name: last_{name}
entity: thing
source: by_{name}
features:
{features}
online: true
"""

PIPELINE = """---
apiVersion: tidemill/v1
kind: Pipeline
name: {name}
steps:
"""

EXPORT = """  {name}:
    uses: export
    with: {{ table: {table}, path: "{path}" }}
"""

LEARN = """  dataset:
    uses: dataset.build
    with: { label: g, inputs: [last_csv, last_jsonl, last_parquet], from: '${{ date("0001-01-01") }}', to: "${{ run.time }}" }
  predict:
    needs: [dataset]
    uses: model.predict_batch
    with: { model: repeat, dataset: "${{ steps.dataset.outputs.dataset }}" }
"""


def write(folder):
    """All of it, its pipelines with the paths that they write to."""
    shutil.copytree(Path(__file__).parent / "project", folder, dirs_exist_ok=True)
    parts = [
        SOURCE.format(name=name)
        for name in [f"by_{n}" for n in UPLOADED] + [f"copy_{n}" for n in COPIES]
    ]
    for name in UPLOADED:
        rules = [
            f"  {name}_{column}: {{ type: {TYPES[column]}, last: {column} }}"
            for column in FEATURES
        ]
        parts.append(VIEW.format(name=name, features="\n".join(rules)))
    parts.append(PIPELINE.format(name="leave"))
    for ending in ENDINGS:
        parts += [
            export(folder, f"source/by_{name}", f"by_{name}", ending)
            for name in UPLOADED
        ]
        parts.append(export(folder, "view/last_csv", "view", ending))
        parts.append(
            f"  sql_{ending}:\n    uses: sql\n"
            f'    with: {{ query: "SELECT * FROM by_jsonl", path: "{folder}/sql.{ending}" }}\n'
        )
    parts += [PIPELINE.format(name="learn"), LEARN]
    for ending in ENDINGS:
        for table, name, needs in [
            ('"dataset/${{ steps.dataset.outputs.dataset }}"', "learnt", "dataset"),
            ("predictions/repeat", "predictions", "predict"),
        ]:
            step = export(folder, table, name, ending)
            parts.append(f"{step}    needs: [{needs}]\n")
    parts.append(PIPELINE.format(name="leave_copies"))
    for name in COPIES:
        parts.append(export(folder, f"source/copy_{name}", f"copy_{name}", name))
    (folder / "doors.yaml").write_text("".join(parts).removeprefix("---\n"))


def export(folder, table, name, ending):
    """A step that writes a table."""
    return EXPORT.format(
        name=f"{name}_{ending}", table=table, path=f"{folder}/{name}.{ending}"
    )
