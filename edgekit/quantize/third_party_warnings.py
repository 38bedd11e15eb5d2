"""Silences third-party messages that a user can do nothing about.

Importing this module has the effect. It comes before the import of torchao, which logs while it
loads.
"""

from __future__ import annotations

import logging
import warnings

# torchao: optional CUDA kernels are missing on a machine without CUDA; the CPU is all we use.
logging.getLogger("torchao").setLevel(logging.ERROR)
# torch: torchao registers an enum in a way that torch means to drop.
logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
# torch: copying an exported graph pickles an object whose class warns about itself.
warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*", category=FutureWarning)
