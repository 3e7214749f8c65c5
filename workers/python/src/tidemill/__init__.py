"""Tidemill's Python SDK: what user code sees of a pipeline step, and model folders."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.step import Context, Dataset

__all__ = ["Context", "Dataset"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Loaded when first asked for: `tidemill.guard` must stay small, and pandas and Arrow come with these.
    if name in __all__:
        from tidemill import step

        return getattr(step, name)
    raise AttributeError(f"module `tidemill` has no attribute `{name}`")
