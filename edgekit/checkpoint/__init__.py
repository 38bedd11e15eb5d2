"""Checkpoints of MobileNets: `load_checkpoint(path)` opens one safely and says what it is.

Needs PyTorch: without it the import raises `MissingPackageError`.
"""

from edgekit import models as _models  # noqa: F401  (says in one line when PyTorch is missing)
from edgekit.checkpoint.load import Checkpoint, load_checkpoint

__all__ = ["Checkpoint", "load_checkpoint"]
