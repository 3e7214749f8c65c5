"""Proves a folder: what is served from it is what the author's own object says. Writes the golden rows.

Golden rows are rows from all over the set with the author's numbers, the last quarter of them with nulls; every process
that loads the folder must predict them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from tidemill.models.authors import Author, asked
from tidemill.models.outputs import ModelError

if TYPE_CHECKING:
    from tidemill.models.folder import Signature
    from tidemill.models.predictors import Predictor

GOLDEN = "golden.arrow"
EXPECTED = "expected."
"""What the golden rows' output columns begin with."""
_GOLDEN_ROWS = 64
_COMPARED_ROWS = 2_000


def spread(rows: int, most: int) -> list[int]:
    """At most so many places, from all over the rows."""
    count = min(rows, most)
    return [index * rows // count for index in range(count)]


def no_nulls(predictor: Predictor, author: Author, signature: Signature, rows: pa.Table) -> list[str]:
    """The columns in which a null makes the model fail, or give something that isn't a finite number."""
    every = {column.name for column in signature.columns}
    if _answers(predictor, author, signature, _lacking(rows.slice(0, 1), every)):
        return []
    alone = [
        column.name
        for column in signature.columns
        if not _answers(predictor, author, signature, _lacking(rows.slice(0, 1), {column.name}))
    ]
    # Some fail only where several lack.
    others = every.difference(alone)
    if not others or _answers(predictor, author, signature, _lacking(rows.slice(0, 1), others)):
        return alone
    return [column.name for column in signature.columns]


def write_golden(
    out: Path, signature: Signature, predictor: Predictor, author: Author, frame: pd.DataFrame, rows: pa.Table
) -> None:
    """Compares, and keeps the golden rows with the author's numbers. `rows` are the frame's, typed."""
    from tidemill.models.predictors import as_frame

    compared = spread(len(frame), _COMPARED_ROWS)
    said = asked(author, frame.iloc[compared])
    _compare(signature, said, predictor.predict(rows.take(compared)), compared)

    nullable = [column.name for column in signature.columns if column.name not in signature.no_nulls]
    whole = _GOLDEN_ROWS * 3 // 4 if nullable else _GOLDEN_ROWS
    places = [index * len(frame) // _GOLDEN_ROWS for index in range(_GOLDEN_ROWS)]
    inputs, expected = rows.take(places[:whole]), asked(author, frame.iloc[places[:whole]])
    if nullable:
        lacking = _with_nulls(rows.take(places[whole:]), nullable)
        said = author(as_frame(lacking, signature.columns))
        _compare(signature, said, predictor.predict(lacking), None)
        inputs, expected = pa.concat_tables([inputs, lacking]), pa.concat_tables([expected, said])
    for name in signature.outputs:
        inputs = inputs.append_column(EXPECTED + name, expected.column(name))
    inputs = inputs.combine_chunks()
    with pa.OSFile(str(out / GOLDEN), "wb") as file, pa.ipc.new_stream(file, inputs.schema) as writer:
        writer.write_table(inputs)


def _compare(signature: Signature, said: pa.Table, served: pa.Table, places: list[int] | None) -> None:
    # LightGBM adds the same f64 in the same order everywhere; only the last sigmoid may round otherwise.
    tolerance = 1e-12 if signature.flavor == "lightgbm" else 1e-6
    for name in signature.outputs:
        pairs = zip(said.column(name).to_pylist(), served.column(name).to_pylist(), strict=True)
        for index, (author, folder) in enumerate(pairs):
            if not _same(author, folder, tolerance):
                place = "of a row with nulls" if places is None else f"of row {places[index]} of the frame"
                raise ModelError(
                    f"{place}: the model in memory predicts {author} for `{name}`, but the saved one {folder}; "
                    "nothing was saved. "
                    "Was the frame changed after training, or does the model keep something that its file doesn't?"
                )


def _same(one: object, other: object, tolerance: float) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_same(a, b, tolerance) for a, b in zip(one, other, strict=True))
    if isinstance(one, float) and isinstance(other, float):
        return bool(np.isclose(other, one, rtol=0, atol=tolerance * max(1.0, abs(one)), equal_nan=True))
    return one == other


def _answers(predictor: Predictor, author: Author, signature: Signature, rows: pa.Table) -> bool:
    from tidemill.models.predictors import as_frame

    try:
        answers = [author(as_frame(rows, signature.columns)), predictor.predict(rows)]
    except Exception:  # whatever a model raises when it can't
        return False
    return all(_finite(value) for answer in answers for row in answer.to_pylist() for value in row.values())


def _finite(value: object) -> bool:
    return value is not None and not (isinstance(value, float) and not np.isfinite(value))


def _lacking(rows: pa.Table, columns: set[str]) -> pa.Table:
    for place, field in enumerate(rows.schema):
        if field.name in columns:
            rows = rows.set_column(place, field, pa.nulls(len(rows), field.type))
    return rows


def _with_nulls(rows: pa.Table, nullable: list[str]) -> pa.Table:
    """Each row lacks some of the columns that may lack, the very last all of them."""
    columns = {}
    for place, name in enumerate(rows.column_names):
        values = rows.column(name).to_pylist()
        for index in range(len(values)):
            if name in nullable and (index == len(values) - 1 or (index + place) % 3 == 0):
                values[index] = None
        columns[name] = pa.array(values, type=rows.schema.field(name).type, from_pandas=False)
    return pa.table(columns)
