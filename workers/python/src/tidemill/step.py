"""What a pipeline step's function gets: `def train(ctx, dataset, out)`."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tidemill import types
from tidemill.protocol import missing, plain

Send = Callable[[dict[str, Any]], None]

_TOLD_MAX = 10


class Context:
    """The step that is running. What is given to it is kept as JSON, as `tidemill.protocol.plain` says.

    What JSON can't hold is replaced, with a warning in the log: a number that is not finite is kept as null, a
    character that is none as U+FFFD, and what has no plain meaning, such as a model, as the beginning of its `repr`.
    """

    def __init__(self, params: Mapping[str, Any], last_checkpoint: Any, send: Send) -> None:
        self.params = dict(params)
        """What the pipeline passes in `with: params`."""
        self.last_checkpoint = last_checkpoint
        """What an earlier attempt of this step saved last, or `None`."""
        self._send = send
        self._pid = os.getpid()

    def checkpoint(self, value: Any) -> None:
        """Saves `value` durably; should this attempt die, the next one finds it in `last_checkpoint`.

        What is kept is there at once: a model is text, so write it to a file in `out`, or checkpoint its own text.
        """
        self._own("checkpoint")
        self.last_checkpoint = kept("checkpoint", value)
        self._send({"type": "checkpoint", "value": self.last_checkpoint})

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Keeps settings with the run, by name; a later value replaces an earlier one."""
        self._own("log_params")
        self._send({"type": "params", "values": kept("params", dict(params))})

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Keeps figures with the run, by name; a later value replaces an earlier one."""
        self._own("log_metrics")
        figures = {name: _figure(value) for name, value in metrics.items()}
        self._send({"type": "metrics", "values": kept("metrics", figures)})

    def _own(self, method: str) -> None:
        """Refuses a child that was forked from the step: two who talk in one conversation take each other's answers."""
        if os.getpid() != self._pid:
            raise RuntimeError(
                f"ctx.{method} was called in a process forked from the step; return the value to the process that runs "
                f"the step (multiprocessing hands it back), and call ctx.{method} there"
            )


def kept(what: str, value: Any) -> Any:
    """The value as it is kept; what had to be replaced is said in the log."""
    changed: list[str] = []
    result = plain(value, changed, what)
    for note in changed[:_TOLD_MAX]:
        print(f"warning: {note}")
    if len(changed) > _TOLD_MAX:
        print(f"warning: {len(changed) - _TOLD_MAX} more values of {what} were replaced")
    return result


def _figure(value: Any) -> Any:
    """A number where it is one; `kept` says what becomes of anything else."""
    try:
        return None if missing(value) else float(value)
    except OverflowError:
        return math.inf
    except Exception:
        return value


class Dataset:
    """A training set: Parquet files and which of their columns a model takes."""

    def __init__(
        self,
        files: list[Path],
        inputs: Mapping[str, str],
        label: str | None = None,
        outputs: Mapping[str, Any] | None = None,
    ) -> None:
        self.files = files
        """Its Parquet files, in order."""
        self.inputs = dict(inputs)
        """The model's columns and their types, in the vector's order."""
        self.label = label
        """The label's column."""
        self.outputs = dict(outputs or {})
        """The model's outputs as YAML declares them, names and types; `tidemill.models.save` takes them."""

    @property
    def features(self) -> list[str]:
        """Names of the model's columns, in the vector's order."""
        return list(self.inputs)

    @property
    def path(self) -> Path:
        """The file, or the folder where there are several."""
        return self.files[0] if len(self.files) == 1 else self.files[0].parent

    @cached_property
    def categories(self) -> dict[str, list[str]]:
        """For each text column that the model takes: its values in order. A model's signature records them."""
        table = self.to_arrow(columns=[name for name, ty in self.inputs.items() if ty == "string"])
        return {name: sorted(table.column(name).unique().drop_null().to_pylist()) for name in table.column_names}

    def to_arrow(self, columns: list[str] | None = None) -> pa.Table:
        """Its rows, exactly: text is text, nulls are null, NaN is NaN."""
        return pa.concat_tables(pq.read_table(file, columns=columns) for file in self.files)

    def to_pandas(self, *, categorical: bool = False) -> pd.DataFrame:
        """Its rows as `tidemill.types.to_pandas` says; text as categories of the whole set, if wanted."""
        frame = types.to_pandas(self.to_arrow())
        if categorical:
            for name, values in self.categories.items():
                frame[name] = pd.Categorical(frame[name], categories=values)
        return frame
