"""What calls come back with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


class TidemillError(Exception):
    """A call that failed, as the server says it; `tidemill explain CODE` has more of each code."""

    def __init__(
        self, message: str, *, code: str = "", hint: str = "", detail: str = "", status: int | None = None
    ) -> None:
        told = f"[{code}] {message}" if code else message
        super().__init__(f"{told}\nhint: {hint}" if hint else told)
        self.message = message
        self.code = code
        """`TM0830`; empty where there is none."""
        self.hint = hint
        """What to do; may be empty."""
        self.detail = detail
        self.status = status
        """The HTTP status; none where no server answered, or a run failed."""

    @staticmethod
    def of(fault: Mapping[str, Any], status: int | None = None) -> TidemillError:
        """As a fault says."""
        words = {name: str(fault.get(name) or "") for name in ("code", "hint", "detail")}
        return TidemillError(str(fault.get("message") or "the call failed"), status=status, **words)


@dataclass(frozen=True)
class View:
    """A view that was read, for one entity."""

    view: str
    version: int
    status: str
    """`fresh`, `stale`, `expired` or `absent`."""
    valid_at: str | None
    age_seconds: float | None
    values: dict[str, Any] = field(default_factory=dict)
    """Of features that were asked for; empty of a prediction."""
    defaulted: list[str] = field(default_factory=list)

    @staticmethod
    def of(told: Mapping[str, Any]) -> View:
        """As JSON has it."""
        names = ("view", "version", "status", "valid_at", "age_seconds")
        known = {name: told.get(name) for name in names}
        return View(**known, values=told.get("values") or {}, defaulted=told.get("defaulted") or [])  # type: ignore[arg-type]


@dataclass(frozen=True)
class Prediction:
    """The answer for one entity."""

    id: str
    version: int
    """The version that answered; during a rollout it may be another one than the reply's."""
    outputs: dict[str, Any]
    """By name: a class as `{"class": …, "probabilities": {…}}`, a vector as a list. None if there is `error`."""
    error: TidemillError | None
    """Why there are no outputs for this entity, though there are for others."""
    views: list[View]
    defaulted: list[str]
    """Features that no value was found for."""
    features: dict[str, Any] | None
    """The model's vector by column, if it was asked for."""

    @staticmethod
    def of(told: Mapping[str, Any]) -> Prediction:
        """As JSON has it."""
        error = told.get("error")
        return Prediction(
            id=told["prediction_id"],
            version=told["version"],
            outputs=told.get("outputs") or {},
            error=TidemillError.of(error) if error else None,
            views=[View.of(view) for view in told.get("views") or []],
            defaulted=told.get("defaulted") or [],
            features=told.get("features"),
        )


@dataclass(frozen=True)
class Predictions:
    """The answers of one call, in the order of its entities."""

    model: str
    version: int
    items: list[Prediction]


@dataclass(frozen=True)
class EntityFeatures:
    """The latest features of one entity."""

    views: list[View]
    error: TidemillError | None

    @property
    def values(self) -> dict[str, Any]:
        """The values by feature; of names that two views have, the last one's."""
        return {name: value for view in self.views for name, value in view.values.items()}


@dataclass(frozen=True)
class TrainingSet:
    """Rows with their features as of each row's own moment."""

    rows: pa.Table
    report: dict[str, Any]
    """Lake version, versions of views, warnings."""


@dataclass(frozen=True)
class Pushed:
    """Rows that were accepted."""

    upload_id: str
    run_id: str
    rows: int
    duplicate: bool
    """Whether the key had been used before: then nothing was added."""
    key: str


@dataclass(frozen=True)
class Step:
    """A step of a run."""

    name: str
    kind: str
    state: str
    outputs: dict[str, Any]
    attempts: int
    error: TidemillError | None


@dataclass(frozen=True)
class Run:
    """A run as it is now."""

    id: str
    pipeline: str
    state: str
    """`running`, `completed`, `failed` or `cancelled`."""
    steps: list[Step]
    error: TidemillError | None

    def step(self, name: str) -> Step:
        """One of its steps."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(f"{self.id} has no step {name}; there are {', '.join(step.name for step in self.steps)}")

    @staticmethod
    def of(told: Mapping[str, Any]) -> Run:
        """As JSON has it."""

        def error(fault: Mapping[str, Any] | None) -> TidemillError | None:
            return TidemillError.of(fault) if fault else None

        def step(told: Mapping[str, Any]) -> Step:
            outputs = told.get("outputs")
            return Step(
                told["name"],
                told["kind"],
                told["state"],
                outputs if isinstance(outputs, dict) else {},
                len(told.get("attempts") or []),
                error(told.get("fault")),
            )

        steps = [step(one) for one in told["step_list"]]
        return Run(told["id"], str(told.get("pipeline") or ""), told["state"], steps, error(told.get("fault")))


@dataclass(frozen=True)
class LogLine:
    """A line that a step printed."""

    step: str
    attempt: int
    at: str
    line: str
