"""The client for code that awaits."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from tidemill.client import calls, places
from tidemill.client.answers import EntityFeatures, LogLine, Predictions, Pushed, Run, TidemillError, TrainingSet
from tidemill.client.calls import Call, Keys
from tidemill.client.sync import unreached

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

T = TypeVar("T")

_LOOK_EVERY_SECONDS = 0.2


class AsyncClient:
    """What `Client` is, awaited: `async with AsyncClient() as client`. May be shared by tasks of one event loop."""

    def __init__(self, server: str | None = None, *, serve: str | None = None, timeout: float = 10.0) -> None:
        import httpx

        found = places.find(server, serve)
        self._server, self._serve = found.server, found.serve
        self._http = httpx.AsyncClient(timeout=timeout)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes its connections."""
        await self._http.aclose()

    async def predict(
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
        return await self._ask(call, timeout)

    async def online_features(self, features: Sequence[str], entities: Keys | Sequence[Keys]) -> list[EntityFeatures]:
        """The latest values of features (`view` or `view.feature`), entity by entity."""
        return await self._ask(calls.online_features(features, entities))

    async def historical_features(
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
        return await self._ask(calls.historical_features(labels, inputs, known_at, label), timeout)

    async def push(self, source: str, rows: Iterable[Mapping[str, Any]], *, key: str | None = None) -> Pushed:
        """Sends rows to a source. With the same `key` a repeat adds nothing."""
        return await self._ask(calls.push(source, rows, key))

    async def start(
        self,
        pipeline: str,
        *,
        date: dt.date | str | None = None,
        params: Mapping[str, Any] | None = None,
        key: str | None = None,
    ) -> Run:
        """Starts a run of a pipeline."""
        return await self.run(await self._ask(calls.start(pipeline, date, params, key)))

    async def run(self, run_id: str) -> Run:
        """A run as it is now."""
        return await self._ask(calls.run(run_id))

    async def wait(self, run: Run | str, *, timeout: float | None = None) -> Run:
        """Waits until a run has ended; raises `TidemillError` with its cause where it failed.

        A server that is silent for up to a minute is waited for.
        """
        run_id = run if isinstance(run, str) else run.id
        started = heard_at = time.monotonic()
        while True:
            try:
                now = await self.run(run_id)
            except TidemillError as error:
                if not calls.bearable(error, time.monotonic() - heard_at):
                    raise
            else:
                heard_at = time.monotonic()
                if calls.ended(now):
                    return calls.completed(now)
            if timeout is not None and time.monotonic() - started > timeout:
                raise calls.in_time(run_id, timeout)
            await asyncio.sleep(_LOOK_EVERY_SECONDS)

    async def retry(self, run: Run | str, *, code: str = "current") -> Run:
        """Repeats the failed steps of a run, with the project's code of now, or of then (`"pinned"`)."""
        run_id = run if isinstance(run, str) else run.id
        await self._ask(calls.retry(run_id, code))
        return await self.run(run_id)

    async def cancel(self, run: Run | str) -> Run:
        """Stops a run."""
        return await self._ask(calls.cancel(run if isinstance(run, str) else run.id))

    async def logs(self, run: Run | str, *, step: str | None = None) -> list[LogLine]:
        """What a run's steps printed."""
        return await self._ask(calls.logs(run if isinstance(run, str) else run.id, step))

    async def _ask(self, call: Call[T], timeout: float | None = None) -> T:
        import httpx

        base = await self._serving() if call.of_serve else self._server
        limit = {} if timeout is None else {"timeout": timeout}
        try:
            response = await self._http.request(
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

    async def _serving(self) -> str:
        if self._serve is None:
            self._serve = await self._ask(calls.places())
        return self._serve
