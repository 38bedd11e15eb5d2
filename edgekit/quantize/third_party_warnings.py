"""Third-party messages that say nothing a user could act on are kept from the terminal.

Import this module before torchao: it speaks while it loads.
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
