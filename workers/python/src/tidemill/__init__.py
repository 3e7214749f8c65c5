"""Tidemill's Python SDK: what user code sees of a pipeline step, and model folders."""

from tidemill.step import Context, Dataset

__all__ = ["Context", "Dataset"]
__version__ = "0.1.0"
