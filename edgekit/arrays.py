"""The arrays that pass from camera to answer, as types that mypy keeps apart.

Each is a plain numpy array at run time. `RgbImage(array)` says that an array is one: mypy refuses a
`BgrFrame` where an `RgbImage` is expected, and either where the network's input is.
"""

from __future__ import annotations

from typing import NewType

import numpy as np
import numpy.typing as npt

BgrFrame = NewType("BgrFrame", npt.NDArray[np.uint8])
"""A frame of a camera or a video, `(H, W, 3) uint8`, 0-255, in the order blue, green, red: OpenCV's
order."""

RgbImage = NewType("RgbImage", npt.NDArray[np.uint8])
"""An image of any size, `(H, W, 3) uint8`, 0-255, in the order red, green, blue: Pillow's order."""

ModelPixels = NewType("ModelPixels", npt.NDArray[np.uint8])
"""What preprocessing makes of an image or frame: `(height, width, C) uint8`, 0-255, of the
network's input size; or a batch of them, `(N, height, width, C)`. C is 3, RGB, or 1, grey."""

Logits = NewType("Logits", npt.NDArray[np.float32])
"""The network's output, `(outputs,) float32`, or `(N, outputs)` for a batch. Where a model file
ends in a softmax or sigmoid (`Engine.last_operator`) these are probabilities already."""

Probabilities = NewType("Probabilities", npt.NDArray[np.float32])
"""`(classes,) float32`, 0-1. Those of classes that exclude each other add up to 1; those of a
multi-label network do not."""
