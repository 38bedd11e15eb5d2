"""Which GPUs are served, and what the others are told."""

from __future__ import annotations

import pytest

from edgekit.engines.tensorrt.cuda import Gpu
from edgekit.engines.tensorrt.supported_gpus import check_board, has_int8
from edgekit.errors import EngineError


def gpu(major: int, minor: int) -> Gpu:
    return Gpu("GPU", major, minor, 1, 1)


@pytest.mark.parametrize(
    ("capability", "message"),
    [
        ((5, 3), r"Nano or TX1\) is not supported on the board: .*JetPack is 4\.6.*opset 13"),
        ((6, 2), r"TX2\) is not supported on the board: .*JetPack is 4\.6.*--fp16 there"),
        ((7, 2), r"Xavier\) is not supported on the board: .*5\.1.*unzip model\.onnx.*--int8"),
    ],
)
def test_old_boards_are_told_what_to_do(capability: tuple[int, int], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        check_board(gpu(*capability))


@pytest.mark.parametrize("capability", [(8, 7), (11, 0), (10, 1), (8, 9), (9, 0), (7, 5)])
def test_boards_that_are_served(capability: tuple[int, int]) -> None:
    check_board(gpu(*capability))
    assert has_int8(gpu(*capability))


@pytest.mark.parametrize("capability", [(5, 3), (6, 0), (6, 2), (7, 0)])
def test_gpus_without_int8(capability: tuple[int, int]) -> None:
    assert not has_int8(gpu(*capability))


def test_pascals_dp4a_counts() -> None:
    assert has_int8(gpu(6, 1))
