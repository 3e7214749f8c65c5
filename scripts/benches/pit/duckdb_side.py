"""Plain SQL in DuckDB: `duckdb_side.py asof|sum LABELS OUT FILE…`. Prints the seconds of the question."""

import json
import sys
import time

import duckdb
import pyarrow.parquet

QUESTIONS = {
    # Which of two rows of one moment wins is not decided here.
    "asof": """
        SELECT label.*, flight.distance, flight.dep_delay, flight.arr_delay, flight.air_time
        FROM read_parquet(?) AS label
        ASOF LEFT JOIN read_parquet(?) AS flight
        ON label.tailnum = flight.tailnum AND label.label_ts >= flight.valid_at
    """,
    # Seven days to the hour: the window begins at a full hour, as ours does.
    "sum": """
        SELECT label.row, sum(flight.distance) AS distance_7d
        FROM read_parquet(?) AS label
        LEFT JOIN read_parquet(?) AS flight
        ON label.tailnum = flight.tailnum
        AND flight.scheduled_at > date_trunc('hour', label.label_ts - INTERVAL 7 DAY)
        AND flight.scheduled_at <= label.label_ts
        GROUP BY label.row
    """,
}


def main():
    """Asks, keeps the answer."""
    question, labels, out, *files = sys.argv[1:]
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    started = time.monotonic()
    answer = connection.execute(QUESTIONS[question], [labels, files])
    table = (
        answer.to_arrow_table()
        if hasattr(answer, "to_arrow_table")
        else answer.fetch_arrow_table()
    )
    seconds = time.monotonic() - started
    pyarrow.parquet.write_table(table, out)
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
