"""What each method sends, and how it reads the answer. Nothing here does I/O."""

from __future__ import annotations

import datetime as dt
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar
from urllib.parse import quote

from tidemill.client.answers import (
    EntityFeatures,
    LogLine,
    Prediction,
    Predictions,
    Pushed,
    Run,
    TidemillError,
    TrainingSet,
)

if TYPE_CHECKING:
    import httpx
    import pandas as pd
    import pyarrow as pa

T = TypeVar("T")
Keys = Mapping[str, Any]
"""An entity's key columns, or what only the caller knows of it."""

ENDED = ("completed", "failed", "cancelled")
"""States that a run stays in."""
PATIENCE_SECONDS = 60.0
"""How long a server may be silent while a run is waited for."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request and what becomes of its answer."""

    method: Literal["GET", "POST"]
    path: str
    read: Callable[[httpx.Response], T]
    of_serve: bool = False
    """Whether the serving role answers it, not the server."""
    query: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    content_type: str = "application/json"
    key: str | None = None
    """Makes a repeat of a write the same write."""

    def headers(self) -> dict[str, str]:
        """Of the request."""
        if self.key and not (self.key.isascii() and self.key.isprintable()):
            raise TidemillError(
                f"the key {self.key!r:.100} can't be sent", hint="give one of printable ASCII characters"
            )
        headers = {"content-type": self.content_type} if self.content is not None else {}
        return headers | ({"idempotency-key": self.key} if self.key else {})

    def answer(self, response: httpx.Response) -> T:
        """Reads the answer, or raises what it says."""
        if response.is_success:
            return self.read(response)
        try:
            fault = response.json()["error"]
        except (ValueError, KeyError, TypeError):
            fault = {"message": f"the server answered {response.status_code}: {response.text[:500]}"}
        raise TidemillError.of(fault, response.status_code)


def predict(
    model: str,
    entities: Keys | Sequence[Keys],
    request: Keys | Sequence[Keys] | None,
    version: int | None,
    alias: str | None,
    want_features: bool,
    timeout: float | None,
) -> Call[Predictions]:
    """Asks a model about entities."""
    body: dict[str, Any] = {"entities": _listed(entities)}
    if request is not None:
        body["request"] = _listed(request)
    given = {"version": version, "alias": alias, "want_features": want_features or None}
    body |= {name: value for name, value in given.items() if value is not None}

    def read(response: httpx.Response) -> Predictions:
        told = response.json()
        return Predictions(told["model"], told["version"], [Prediction.of(one) for one in told["predictions"]])

    query = {"timeout": f"{max(1, math.floor(timeout * 1000))}ms"} if timeout is not None else {}
    path = f"/v1/models/{_segment(model)}:predict"
    return Call("POST", path, read, of_serve=True, query=query, content=_json(body))


def online_features(features: Sequence[str], entities: Keys | Sequence[Keys]) -> Call[list[EntityFeatures]]:
    """Asks for the latest features."""
    from tidemill.client.answers import View

    def read(response: httpx.Response) -> list[EntityFeatures]:
        def entity(told: Mapping[str, Any]) -> EntityFeatures:
            error = told.get("error")
            views = [View.of(view) for view in told["views"]]
            return EntityFeatures(views, TidemillError.of(error) if error else None)

        return [entity(told) for told in response.json()["entities"]]

    body = {"features": list(features), "entities": _listed(entities)}
    return Call("POST", "/v1/features/online", read, of_serve=True, content=_json(body))


def historical_features(
    labels: pa.Table | pd.DataFrame,
    inputs: str | Sequence[str],
    known_at: str | dt.datetime | None,
    label: str | None,
) -> Call[TrainingSet]:
    """Joins features to rows that have the key columns and `label_ts`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = labels if isinstance(labels, pa.Table) else pa.Table.from_pandas(labels, preserve_index=False)
    sink = io.BytesIO()
    pq.write_table(table, sink)

    def read(response: httpx.Response) -> TrainingSet:
        report = json.loads(response.headers.get("tidemill-report") or "{}")
        return TrainingSet(pq.read_table(io.BytesIO(response.content)), report)

    query = {"format": "parquet", "inputs": inputs if isinstance(inputs, str) else ",".join(inputs)}
    if known_at is not None:
        query["known_at"] = known_at.isoformat() if isinstance(known_at, dt.datetime) else known_at
    if label is not None:
        query["label"] = label
    content = sink.getvalue()
    return Call(
        "POST", "/v1/datasets/build", read, query=query, content=content, content_type="application/octet-stream"
    )


def push(source: str, rows: Iterable[Mapping[str, Any]], key: str | None) -> Call[Pushed]:
    """Sends rows, a line of JSON each."""
    lines = b"\n".join(_json(dict(row)) for row in rows)

    def read(response: httpx.Response) -> Pushed:
        told = response.json()
        key = str(told["idempotency_key"])
        return Pushed(told["upload_id"], told["run_id"], told["rows"], told["duplicate"], key)

    path = f"/v1/sources/{_segment(source)}/push"
    return Call("POST", path, read, content=lines, content_type="application/x-ndjson", key=key)


def start(pipeline: str, date: dt.date | str | None, params: Mapping[str, Any] | None, key: str | None) -> Call[str]:
    """Starts a run; its id comes back."""
    body: dict[str, Any] = {"pipeline": pipeline, "params": dict(params or {})}
    if date is not None:
        body["date"] = str(date)
    return Call("POST", "/v1/runs", lambda response: str(response.json()["id"]), content=_json(body), key=key)


def run(run_id: str) -> Call[Run]:
    """Looks at a run."""
    return Call("GET", f"/v1/runs/{_segment(run_id)}", _run)


def retry(run_id: str, code: str) -> Call[Any]:
    """Repeats what failed."""
    return Call("POST", f"/v1/runs/{_segment(run_id)}/retry", lambda response: response.json(), query={"code": code})


def cancel(run_id: str) -> Call[Run]:
    """Stops a run."""
    return Call("POST", f"/v1/runs/{_segment(run_id)}/cancel", _run)


def logs(run_id: str, step: str | None) -> Call[list[LogLine]]:
    """Reads what steps printed."""

    def read(response: httpx.Response) -> list[LogLine]:
        return [LogLine(one["step"], one["attempt"], one["at"], one["line"]) for one in response.json()["items"]]

    return Call("GET", f"/v1/runs/{_segment(run_id)}/logs", read, query={"step": step} if step else {})


def places() -> Call[str]:
    """Asks the server where predictions are answered."""
    return Call("GET", "/v1/places", lambda response: str(response.json()["serve"]))


def ended(run: Run) -> bool:
    """Whether a run goes on no more."""
    return run.state in ENDED


def completed(run: Run) -> Run:
    """The run, if it went well."""
    if run.state == "completed":
        return run
    error = run.error or next((step.error for step in run.steps if step.error), None)
    if error is None:
        raise TidemillError(f"{run.id} was {run.state}", hint=f"tidemill runs show {run.id}")
    message = f"{run.id} {run.state}: {error.message}"
    raise TidemillError(message, code=error.code, hint=error.hint, detail=error.detail)


def bearable(error: TidemillError, silent_seconds: float) -> bool:
    """Whether a wait goes on though no server answered: the work goes on without it."""
    return error.status is None and error.code in ("TM0102", "TM0103") and silent_seconds < PATIENCE_SECONDS


def in_time(run_id: str, timeout: float) -> TidemillError:
    """A run that was waited for in vain."""
    return TidemillError(
        f"{run_id} has not ended within {timeout:g} s",
        code="TM0103",
        hint=f"it goes on; follow it with: tidemill runs show {run_id}",
    )


def _run(response: httpx.Response) -> Run:
    return Run.of(response.json())


def _listed(given: Keys | Sequence[Keys]) -> list[dict[str, Any]]:
    return [dict(given)] if isinstance(given, Mapping) else [dict(one) for one in given]


def _segment(name: str) -> str:
    return quote(name, safe="-._~@")


def _json(value: Any) -> bytes:
    try:
        return json.dumps(_plain(value), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise TidemillError(f"what is given can't be sent: {error}") from error


_DAYS = ("Y", "M", "W", "D")
"""NumPy's units that are days to Python."""


def _plain(value: Any) -> Any:
    """Days and instants as text, decimals as their digits, NumPy's as numbers and lists; what is missing is null."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if value is None or isinstance(value, str | int):
        return value
    if type(value).__name__ in ("NaTType", "NAType"):  # of pandas; the first is a datetime, too
        return None
    if isinstance(value, dt.datetime):
        return (value if value.tzinfo else value.replace(tzinfo=dt.UTC)).isoformat()
    if isinstance(value, dt.date):
        return value.isoformat()
    if type(value).__name__ == "Decimal":
        return str(value)
    if type(value).__module__ == "numpy" and value.dtype.kind == "M" and value.dtype.str[4:-1] not in _DAYS:
        value = value.astype("datetime64[us]")  # of nanoseconds NumPy would make whole numbers
    if hasattr(value, "tolist") and type(told := value.tolist()) is not type(value):
        return _plain(told)
    raise TypeError(f"{type(value).__name__} has no form in JSON: {value!r:.100}")
