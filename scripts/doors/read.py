"""What the doors give back, as plain values: files, Arrow, replies."""

import pyarrow as pa
import pyarrow.parquet as pq
from parquets import PLAIN
from written import instant_of, parse_json, read_csv_cell, read_json, read_text, records


def file(path, types):
    """The rows of a file, its columns of these types; other columns are left out."""
    if path.suffix == ".parquet":
        return arrow(pq.ParquetFile(path).read(), types)
    text = path.read_bytes().decode()
    if path.suffix == ".jsonl":
        rows = [parse_json(line) for line in text.split("\n") if line]
        return [
            {name: read_json(row.get(name), kind) for name, kind in types.items()}
            for row in rows
        ]
    header, *rest = records(text)
    places = {name: place for place, (name, _) in enumerate(header) if name in types}
    return [
        {name: read_csv_cell(row[place], types[name]) for name, place in places.items()}
        for row in rest
    ]


def arrow(table, types):
    """The rows of a table, whose columns must be of the documented Arrow types."""
    columns = {}
    for name, kind in types.items():
        column = table.column(name)
        if column.type != PLAIN[kind]:
            raise SystemExit(f"column {name} is {column.type}, not {PLAIN[kind]}")
        # Python's own conversion of times in zones fails at the ends of the calendar.
        values = (
            column.cast(pa.int64()).to_pylist()
            if kind == "timestamp"
            else column.to_pylist()
        )
        columns[name] = (
            [instant_of(value) for value in values] if kind == "timestamp" else values
        )
    return [
        dict(zip(columns, row, strict=True))
        for row in zip(*columns.values(), strict=True)
    ]


def wire(value, kind):
    """A typed output of gRPC."""
    found = value.WhichOneof("value")
    if found is None:
        return None
    text = getattr(value, found)
    if found == {"float": "float_value", "int": "int_value", "bool": "bool_value"}.get(
        kind, "string_value"
    ):
        return read_text(text, kind) if found == "string_value" else text
    return f"{found} {text!r}"
