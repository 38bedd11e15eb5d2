"""Opens checkpoints safely and recognises the network in them. It belongs to the workbench half.

`load_checkpoint(path)` takes a file of weights or an exported program and returns a `Checkpoint`:
the float network as a PyTorch module, and the `ModelSpec` that describes it. The import raises
`MissingPackageError` where PyTorch is not installed.
"""

from edgekit import models as _models  # noqa: F401  (raises a one-line error without PyTorch)
from edgekit.checkpoint.load import Checkpoint, load_checkpoint

__all__ = ["Checkpoint", "load_checkpoint"]
