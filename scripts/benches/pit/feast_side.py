"""Feast, with its offline store in DuckDB: `feast_side.py ROWS LABELS OUT`. Prints the seconds of the question."""

import json
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import pandas
import pyarrow.parquet
from feast import (
    Entity,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    RepoConfig,
    ValueType,
)
from feast.types import Float64

FEATURES = ["distance", "dep_delay", "arr_delay", "air_time"]


def main():
    """Declares the view, asks it, keeps the answer."""
    rows, labels, out = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(config=RepoConfig(
            project="bench", provider="local", registry=str(Path(folder) / "registry.db"),
            offline_store={"type": "duckdb"}, online_store={"type": "sqlite", "path": str(Path(folder) / "online.db")},
            entity_key_serialization_version=3,
        ))  # fmt: skip
        plane = Entity(name="plane", join_keys=["tailnum"], value_type=ValueType.STRING)
        source = FileSource(
            name="departures", path=rows, timestamp_field="scheduled_at"
        )
        view = FeatureView(
            name="last_flight", entities=[plane], source=source, ttl=timedelta(0),
            schema=[Field(name=name, dtype=Float64) for name in FEATURES],
        )  # fmt: skip
        store.apply([plane, source, view])
        asked = pandas.read_parquet(labels).rename(
            columns={"label_ts": "event_timestamp"}
        )
        started = time.monotonic()
        job = store.get_historical_features(
            entity_df=asked, features=[f"last_flight:{name}" for name in FEATURES]
        )
        table = job.to_arrow()
        seconds = time.monotonic() - started
    pyarrow.parquet.write_table(table, out)
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
