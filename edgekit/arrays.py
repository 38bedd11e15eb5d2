"""The arrays that pass from camera to answer, by name.

Sizes are pixels; images are `(height, width, 3)`, values 0-255.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.float32]
Logits = npt.NDArray[np.float32]
