"""Which GPUs edgekit runs on, by compute capability."""

from __future__ import annotations

from typing import NamedTuple

from edgekit.engines.tensorrt.cuda import Gpu
from edgekit.errors import EngineError


class EndedBoard(NamedTuple):
    """A Jetson whose last JetPack is older than edgekit serves."""

    name: str
    reason: str
    instead: str


_TRTEXEC = "/usr/src/tensorrt/bin/trtexec"
_JETPACK_4 = (
    "its last JetPack is 4.6, with Python 3.6 and TensorRT 8.2, and its GPU has no int8"
    " instructions",
    f"export the checkpoint with torch.onnx at opset 13 and run {_TRTEXEC} --onnx=FILE --fp16"
    " there, since TensorRT 8.2 reads no later opset and no uint8 pixels",
)
_JETPACK_5 = (
    "its last JetPack is 5.1, with Python 3.8 and TensorRT 8.5",
    f"unzip model.onnx from the bundle and run {_TRTEXEC} --onnx=model.onnx --int8 --fp16 there",
)
ENDED = {
    (5, 3): EndedBoard("Jetson Nano or TX1", *_JETPACK_4),
    (6, 2): EndedBoard("Jetson TX2", *_JETPACK_4),
    (7, 2): EndedBoard("Jetson Xavier", *_JETPACK_5),
}
_WITHOUT_INT8 = ((6, 0), (6, 2), (7, 0))
"""From 6.1 on GPUs multiply four int8 at once (dp4a), but for these."""


def check_board(gpu: Gpu) -> None:
    """Raises EngineError for a Jetson whose last JetPack is too old, with what to do instead."""
    board = ENDED.get((gpu.major, gpu.minor))
    if board is not None:
        raise EngineError(
            f"{gpu.name} (compute capability {gpu.major}.{gpu.minor}, {board.name}) is not"
            f" supported on the board: {board.reason}; {board.instead}"
        )


def has_int8(gpu: Gpu) -> bool:
    """Whether the GPU has instructions for int8."""
    return (gpu.major, gpu.minor) >= (6, 1) and (gpu.major, gpu.minor) not in _WITHOUT_INT8
