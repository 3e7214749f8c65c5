"""Tidemill's Python SDK: what user code sees of a pipeline step, model folders, and a client of a running server."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.client import AsyncClient, Client, TidemillError
    from tidemill.step import Context, Dataset

__all__ = ["AsyncClient", "Client", "Context", "Dataset", "TidemillError"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Loaded when first asked for: `tidemill.guard` must stay small, and pandas and Arrow come with these.
    if name in ("AsyncClient", "Client", "TidemillError"):
        from tidemill import client

        return getattr(client, name)
    if name in __all__:
        from tidemill import step

        return getattr(step, name)
    raise AttributeError(f"module `tidemill` has no attribute `{name}`")
