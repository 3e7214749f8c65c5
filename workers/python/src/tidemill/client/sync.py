"""The client for plain code."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from tidemill.client import calls, places
from tidemill.client.answers import EntityFeatures, LogLine, Predictions, Pushed, Run, TidemillError, TrainingSet
from tidemill.client.calls import Call, Keys

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

T = TypeVar("T")

_LOOK_EVERY_SECONDS = 0.2


class Client:
    """Calls a server and its serving role, over connections that it keeps. May be shared by threads.

    Without `server` it is found as the command line finds it: `TIDEMILL_SERVER_URL`, or the `tidemill dev` of this
    folder or one above. `timeout` is how long each call may take, in seconds.
    """

    def __init__(self, server: str | None = None, *, serve: str | None = None, timeout: float = 10.0) -> None:
        import httpx

        found = places.find(server, serve)
        self._server, self._serve = found.server, found.serve
        self._http = httpx.Client(timeout=timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    def predict(
        self,
        model: str,
        entities: Keys | Sequence[Keys],
        *,
        request: Keys | Sequence[Keys] | None = None,
        version: int | None = None,
        alias: str | None = None,
        want_features: bool = False,
        timeout: float | None = None,
    ) -> Predictions:
        """Predicts for one entity or some, each a map of key columns.

        `request` has columns that only the caller knows, one map for each entity. `timeout` is kept by the server, too:
        a prediction that nobody waits for is not computed.
        """
        call = calls.predict(model, entities, request, version, alias, want_features, timeout)
        return self._ask(call, timeout)

    def online_features(self, features: Sequence[str], entities: Keys | Sequence[Keys]) -> list[EntityFeatures]:
        """The latest values of features (`view` or `view.feature`), entity by entity."""
        return self._ask(calls.online_features(features, entities))

    def historical_features(
        self,
        labels: pa.Table | pd.DataFrame,
        inputs: str | Sequence[str],
        *,
        known_at: str | dt.datetime | None = None,
        label: str | None = None,
        timeout: float | None = 600.0,
    ) -> TrainingSet:
        """Rows with the key columns and `label_ts`, joined with what was known of each feature at their own moment.

        `inputs` is a model's name, or a list of views. `known_at="label"` also leaves out what was recorded later.
        """
        return self._ask(calls.historical_features(labels, inputs, known_at, label), timeout)

    def push(self, source: str, rows: Iterable[Mapping[str, Any]], *, key: str | None = None) -> Pushed:
        """Sends rows to a source. With the same `key` a repeat adds nothing."""
        return self._ask(calls.push(source, rows, key))

    def start(
        self,
        pipeline: str,
        *,
        date: dt.date | str | None = None,
        params: Mapping[str, Any] | None = None,
        key: str | None = None,
    ) -> Run:
        """Starts a run of a pipeline."""
        return self.run(self._ask(calls.start(pipeline, date, params, key)))

    def run(self, run_id: str) -> Run:
        """A run as it is now."""
        return self._ask(calls.run(run_id))

    def wait(self, run: Run | str, *, timeout: float | None = None) -> Run:
        """Waits until a run has ended; raises `TidemillError` with its cause where it failed.

        A server that is silent for up to a minute is waited for.
        """
        run_id = run if isinstance(run, str) else run.id
        started = heard_at = time.monotonic()
        while True:
            try:
                now = self.run(run_id)
            except TidemillError as error:
                if not calls.bearable(error, time.monotonic() - heard_at):
                    raise
            else:
                heard_at = time.monotonic()
                if calls.ended(now):
                    return calls.completed(now)
            if timeout is not None and time.monotonic() - started > timeout:
                raise calls.in_time(run_id, timeout)
            time.sleep(_LOOK_EVERY_SECONDS)

    def retry(self, run: Run | str, *, code: str = "current") -> Run:
        """Repeats the failed steps of a run, with the project's code of now, or of then (`"pinned"`)."""
        run_id = run if isinstance(run, str) else run.id
        self._ask(calls.retry(run_id, code))
        return self.run(run_id)

    def cancel(self, run: Run | str) -> Run:
        """Stops a run."""
        return self._ask(calls.cancel(run if isinstance(run, str) else run.id))

    def logs(self, run: Run | str, *, step: str | None = None) -> list[LogLine]:
        """What a run's steps printed."""
        return self._ask(calls.logs(run if isinstance(run, str) else run.id, step))

    def _ask(self, call: Call[T], timeout: float | None = None) -> T:
        import httpx

        base = self._serving() if call.of_serve else self._server
        limit = {} if timeout is None else {"timeout": timeout}
        try:
            response = self._http.request(
                call.method,
                base + call.path,
                params=dict(call.query),
                content=call.content,
                headers=call.headers(),
                **limit,
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise unreached(base, error) from error
        return call.answer(response)

    def _serving(self) -> str:
        if self._serve is None:
            self._serve = self._ask(calls.places())
        return self._serve


def unreached(base: str, error: Exception) -> TidemillError:
    """No answer came."""
    import httpx

    if isinstance(error, httpx.TimeoutException):
        return TidemillError(f"{base} did not answer in time", code="TM0103", hint="give the call a longer `timeout`")
    hint = 'start one with `tidemill dev`, or name it: Client("http://HOST:PORT")'
    return TidemillError(f"no server answers at {base}: {error}", code="TM0102", hint=hint)
