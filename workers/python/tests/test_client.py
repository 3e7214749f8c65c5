"""What the client sends, and what it makes of answers; `scripts/doors` asks a real server by it."""

import asyncio
import datetime as dt
import fcntl
import io
import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tidemill import AsyncClient, Client, TidemillError
from tidemill.client import calls

pytest.importorskip("httpx")

RUN: dict[str, Any] = {"id": "run_1", "pipeline": "train", "state": "running", "step_list": [], "fault": None}
FAULT = {"code": "TM0701", "message": "MemoryError at models/late.py:41", "hint": "train on fewer rows"}
PREDICTION = {
    "prediction_id": "prd_1",
    "version": 4,
    "views": [{"view": "v", "version": 1, "status": "stale", "valid_at": "2013-06-01T00:00:00Z", "age_seconds": 60.0}],
    "defaulted": [],
    "outputs": {"p": 0.25},
}


class Server(ThreadingHTTPServer):
    """Answers what is laid out for each path, the last one again and again, and nothing where that is none.

    Keeps what was asked.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, list[tuple[int, Any]]] = {}
        self.asked: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def lay(self, path: str, *answers: Any, status: int = 200) -> None:
        self.answers[path] = [(status, answer) for answer in answers]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        waiting = self.server.answers.get(path)
        if not waiting:
            status, answer = 404, {"error": {"code": "TM0117", "message": f"there is nothing at {path}"}}
        else:
            status, answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if answer is None:
            self.close_connection = True
            return
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.send_header("tidemill-report", '{"lake_version": 7}')
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    server.lay("/v1/places", {"serve": server.url, "gateway": ""})
    with Client(server.url) as client:
        yield client


def test_a_prediction_is_typed_and_its_keys_are_written_as_json(server: Server, client: Client) -> None:
    server.lay("/v1/models/late_flight:predict", {"model": "late_flight", "version": 3, "predictions": [PREDICTION]})
    keys = {"flight": np.int64(1), "date": dt.date(2013, 6, 1), "at": dt.datetime(2013, 6, 1, 4)}
    told = client.predict("late_flight", keys, request={"bags": np.float64(2)}, alias="shadow", timeout=0.5)
    assert (told.model, told.version, told.items[0].id, told.items[0].outputs) == (
        "late_flight",
        3,
        "prd_1",
        {"p": 0.25},
    )
    assert (told.items[0].views[0].status, told.items[0].error, told.items[0].features) == ("stale", None, None)
    assert told.items[0].version == 4, "of its own arm of a rollout"
    path, _, body = server.asked[-1]
    assert path.endswith(":predict?timeout=500ms")
    assert json.loads(body) == {
        "entities": [{"flight": 1, "date": "2013-06-01", "at": "2013-06-01T04:00:00+00:00"}],
        "request": [{"bags": 2.0}],
        "alias": "shadow",
    }


def test_what_fails_is_raised_with_its_code_and_what_to_do(server: Server, client: Client) -> None:
    fault = {"code": "TM0830", "message": "unknown model `x`", "hint": "tidemill models list"}
    server.lay("/v1/models/x:predict", {"error": fault}, status=404)
    with pytest.raises(TidemillError, match=r"\[TM0830\] unknown model `x`\nhint: tidemill models list") as caught:
        client.predict("x", {"a": 1})
    assert (caught.value.code, caught.value.hint, caught.value.status) == ("TM0830", "tidemill models list", 404)
    server.lay("/v1/models/x:predict", b"<html>", status=502)
    with pytest.raises(TidemillError, match="the server answered 502: <html>"):
        client.predict("x", {"a": 1})
    circle: list[Any] = []
    circle.append(circle)
    for given, said in [
        (object(), "object has no form in JSON"),
        (float("inf"), "not JSON compliant"),
        (np.longdouble(1), "longdouble has no form in JSON"),
        (circle, "recursion"),
    ]:
        with pytest.raises(TidemillError, match=f"what is given can't be sent: .*{said}"):
            client.predict("x", {"a": given})
    for key in ("schlüssel", "a\nb"):
        with pytest.raises(TidemillError, match=r"can't be sent\nhint: give one of printable ASCII"):
            client.push("arrivals", [], key=key)


def test_what_numpy_and_pandas_hold_is_written_as_what_it_is(server: Server, client: Client) -> None:
    server.lay("/v1/models/m:predict", {"model": "m", "version": 1, "predictions": [PREDICTION]})
    at = np.datetime64("2013-06-01T04:00:00.000001", "ns")
    given: dict[str, tuple[Any, Any]] = {
        "floats": (np.array([1.5, np.nan]), [1.5, None]),
        "one": (np.array([7]), [7]),
        "grid": (np.zeros((2, 1), dtype="int8"), [[0], [0]]),
        "truth": (np.bool_(True), True),
        "single": (np.float32(0.5), 0.5),
        "text": (np.array(["a"]), ["a"]),
        "instant": (at, "2013-06-01T04:00:00.000001+00:00"),
        "instants": (np.array([at, "NaT"], dtype="datetime64[ns]"), ["2013-06-01T04:00:00.000001+00:00", None]),
        "midnight": (np.datetime64("2013-06-01", "ns"), "2013-06-01T00:00:00+00:00"),
        "day": (np.datetime64("2013-06-01"), "2013-06-01"),
        "days": (np.array(["2013-06-01"], dtype="datetime64[D]"), ["2013-06-01"]),
        "series": (pd.Series([pd.Timestamp("2013-06-01", tz="UTC"), None]), ["2013-06-01T00:00:00+00:00", None]),
        "nat": (pd.NaT, None),
        "na": (pd.NA, None),
        "none": (None, None),
        "nan": (float("nan"), None),
        "nothing": (np.float64("nan"), None),
        "digits": (Decimal("1.50"), "1.50"),
        "nested": ({"a": [(np.int64(1), pd.NA)]}, {"a": [[1, None]]}),
    }
    client.predict("m", {name: value for name, (value, _) in given.items()})
    sent = json.loads(server.asked[-1][2])["entities"][0]
    assert sent == {name: expected for name, (_, expected) in given.items()}


def test_one_entity_s_error_is_its_own(server: Server, client: Client) -> None:
    fault = {"code": "TM0835", "message": "entity 1: no value for hour", "hint": ""}
    failed = {**PREDICTION, "outputs": None, "error": fault}
    server.lay("/v1/models/m:predict", {"model": "m", "version": 1, "predictions": [PREDICTION, failed]})
    first, second = client.predict("m", [{"a": 1}, {"a": 2}]).items
    assert first.error is None
    assert second.error is not None
    assert (second.error.code, second.outputs) == ("TM0835", {})


def test_features_are_read_online_and_of_the_past(server: Server, client: Client) -> None:
    view = {**PREDICTION["views"][0], "values": {"delay": 1.5}, "defaulted": ["gate"]}  # type: ignore[index]
    fault = {"code": "TM0838", "message": "features could not be read"}
    server.lay("/v1/features/online", {"at": "", "entities": [{"views": [view]}, {"views": [], "error": fault}]})
    first, second = client.online_features(["aircraft_delay"], [{"tailnum": "N1"}, {"tailnum": "N2"}])
    assert (first.values, first.views[0].defaulted, first.error) == ({"delay": 1.5}, ["gate"], None)
    assert second.error is not None
    assert second.error.code == "TM0838"

    joined = io.BytesIO()
    pq.write_table(pa.table({"tailnum": ["N1"], "delay": [1.5]}), joined)
    server.lay("/v1/datasets/build", joined.getvalue())
    labels = pa.table({"tailnum": ["N1"], "label_ts": [dt.datetime(2013, 6, 1, tzinfo=dt.UTC)]})
    told = client.historical_features(labels, ["aircraft_delay", "weather_now"], known_at="label")
    assert (told.rows.column("delay").to_pylist(), told.report) == ([1.5], {"lake_version": 7})
    path, headers, body = server.asked[-1]
    assert path == "/v1/datasets/build?format=parquet&inputs=aircraft_delay%2Cweather_now&known_at=label"
    assert headers["content-type"] == "application/octet-stream"
    assert pq.read_table(io.BytesIO(body)).equals(labels)


def test_rows_are_pushed_once_for_a_key(server: Server, client: Client) -> None:
    answer = {"upload_id": "upl_1", "run_id": "run_1", "rows": 2, "duplicate": True, "idempotency_key": "k"}
    server.lay("/v1/sources/arrivals/push", answer)
    told = client.push("arrivals", ({"delay": delay} for delay in (1, 2)), key="k")
    assert (told.rows, told.duplicate, told.key) == (2, True, "k")
    _, headers, body = server.asked[-1]
    assert (headers["idempotency-key"], headers["content-type"]) == ("k", "application/x-ndjson")
    assert [json.loads(line) for line in body.splitlines()] == [{"delay": 1}, {"delay": 2}]


def test_a_run_is_started_waited_for_and_its_failure_raised(server: Server, client: Client) -> None:
    step = {"name": "train", "kind": "python", "state": "failed", "outputs": None, "attempts": [{}], "fault": FAULT}
    failed = {**RUN, "state": "failed", "step_list": [step], "fault": FAULT}
    server.lay("/v1/runs", {"id": "run_1", "existed": False})
    server.lay("/v1/runs/run_1", RUN, RUN, failed)
    run = client.start("train", date=dt.date(2013, 6, 1), params={"days": 3}, key="once")
    assert (run.id, run.state) == ("run_1", "running")
    assert json.loads(server.asked[0][2]) == {"pipeline": "train", "params": {"days": 3}, "date": "2013-06-01"}
    with pytest.raises(TidemillError, match=r"run_1 failed: MemoryError at models/late\.py:41") as caught:
        client.wait(run)
    assert caught.value.code == "TM0701"
    assert client.run("run_1").step("train").attempts == 1
    with pytest.raises(KeyError, match="run_1 has no step gate; there are train"):
        client.run("run_1").step("gate")

    server.lay("/v1/runs/run_1/retry", {"run": "run_1"})
    server.lay("/v1/runs/run_1", RUN)
    assert client.retry("run_1", code="pinned").state == "running"
    assert any(path == "/v1/runs/run_1/retry?code=pinned" for path, *_ in server.asked)
    with pytest.raises(TidemillError, match="run_1 has not ended within 0 s") as caught:
        client.wait("run_1", timeout=0)
    assert caught.value.code == "TM0103"
    server.lay(
        "/v1/runs/run_1/logs", {"items": [{"step": "train", "attempt": 1, "line_no": 0, "at": "t", "line": "a"}]}
    )
    assert [line.line for line in client.logs("run_1", step="train")] == ["a"]


def test_a_server_that_is_silent_for_a_while_is_waited_for(server: Server) -> None:
    completed = {**RUN, "state": "completed"}
    with Client(server.url) as client:
        server.lay("/v1/runs/run_1", None, RUN, None, completed)
        assert client.wait("run_1").state == "completed"
        server.lay("/v1/runs/run_1", None)
        with pytest.raises(TidemillError, match="run_1 has not ended within 0 s"):
            client.wait("run_1", timeout=0)
        with pytest.raises(TidemillError, match="there is nothing at /v1/runs/run_2"):
            client.wait("run_2")

    async def wait() -> None:
        async with AsyncClient(server.url) as client:
            server.lay("/v1/runs/run_1", None, RUN, None, completed)
            assert (await client.wait("run_1")).state == "completed"

    asyncio.run(wait())
    silent = TidemillError("no server answers", code="TM0102")
    assert calls.bearable(silent, 59.0)
    assert not calls.bearable(silent, 60.0)
    assert not calls.bearable(TidemillError("told by a server", code="TM0103", status=504), 0.0)


def test_what_is_awaited_does_the_same(server: Server) -> None:
    server.lay("/v1/places", {"serve": server.url, "gateway": ""})
    server.lay("/v1/models/m:predict", {"model": "m", "version": 1, "predictions": [PREDICTION]})
    server.lay("/v1/runs/run_1", RUN, {**RUN, "state": "completed"})

    async def ask() -> None:
        async with AsyncClient(server.url) as client:
            both = await asyncio.gather(*(client.predict("m", {"a": number}) for number in range(2)))
            assert [told.items[0].outputs for told in both] == [{"p": 0.25}] * 2
            assert (await client.wait("run_1")).state == "completed"
            with pytest.raises(TidemillError, match="there is nothing at /v1/runs/run_2"):
                await client.run("run_2")

    asyncio.run(ask())


def test_servers_are_found_as_the_command_line_finds_them(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("TIDEMILL_SERVER_URL", "TIDEMILL_SERVER__LISTEN", "TIDEMILL_SERVE__HTTP"):
        monkeypatch.delenv(variable, raising=False)
    tree, below = tmp_path / ".tidemill", tmp_path / "notebooks"
    tree.mkdir()
    below.mkdir()
    monkeypatch.chdir(below)
    address = server.url.removeprefix("http://")
    (tree / "dev.json").write_text(json.dumps({"server": address, "serve_http": address, "pid": 1}))
    (tree / "lock").touch()
    with pytest.raises(TidemillError, match="no server is named") as caught:
        Client()
    assert caught.value.code == "TM0102"
    server.lay("/v1/runs/run_1", RUN)
    with (tree / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as a tree that runs does
        with Client() as client:
            assert client.run("run_1").state == "running"
    monkeypatch.setenv("TIDEMILL_SERVER_URL", server.url)
    with Client() as client:
        assert client.run("run_1").id == "run_1"
    with pytest.raises(TidemillError, match="is not the URL of a server"):
        Client("localhost:7433")


def test_a_server_that_is_not_there_is_told() -> None:
    with Client("http://127.0.0.1:9", serve="http://127.0.0.1:9") as client:
        with pytest.raises(TidemillError, match=r"no server answers at http://127.0.0.1:9") as caught:
            client.predict("m", {"a": 1})
        assert caught.value.code == "TM0102"
