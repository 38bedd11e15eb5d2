"""Hides messages of third-party libraries that a user cannot act on.

Importing the module has this effect. It must be imported before torchao, which logs while it loads.
"""

from __future__ import annotations

import logging
import warnings

# torchao: optional CUDA kernels are missing on a machine without CUDA; edgekit uses the CPU only.
logging.getLogger("torchao").setLevel(logging.ERROR)
# torch: torchao registers an enum in a way that torch has deprecated.
logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
# torch: copying an exported graph pickles an object whose class warns about itself.
warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*", category=FutureWarning)
