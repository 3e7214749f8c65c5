"""Model folders: written by training code, read by the worker.

A folder has the MLflow layout (`MLmodel` beside the model's own file), `tidemill.json` with the signature, and
`golden.arrow`: rows with what this model predicted for them here, so that every process that loads it can
prove that it predicts the same.
"""

from tidemill.models.folder import Column, ModelError, Signature, save

__all__ = ["Column", "ModelError", "Signature", "save"]
