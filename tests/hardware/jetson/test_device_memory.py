"""Device memory, pinned memory, streams and graphs on a GPU, without TensorRT."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from edgekit.engines.tensorrt.cuda import Cuda, CudaPython
from edgekit.errors import EngineError
from tests.hardware.jetson.conftest import Memory

SIZE = 1 << 20


def test_bytes_go_to_the_device_and_come_back(cuda: Cuda, memory: Memory) -> None:
    host, back = memory.pinned(SIZE), memory.pinned(SIZE)
    address, stream = memory.device(SIZE), memory.stream()
    host[:] = np.random.default_rng(0).integers(0, 256, SIZE, dtype=np.uint8)
    cuda.copy_to_device(address, host, stream)
    cuda.copy_to_host(back, address, stream)
    cuda.synchronize(stream)
    np.testing.assert_array_equal(back, host)


def test_copies_on_one_stream_keep_their_order(cuda: Cuda, memory: Memory) -> None:
    first, second, back = (memory.pinned(SIZE) for _ in range(3))
    first[:], second[:] = 1, 2
    address, stream = memory.device(SIZE), memory.stream()
    for host in (first, second, first, second):
        cuda.copy_to_device(address, host, stream)
    cuda.copy_to_host(back, address, stream)
    cuda.synchronize(stream)
    assert (back == 2).all()


def test_a_graph_repeats_what_was_captured(cuda: Cuda, memory: Memory) -> None:
    host, back = memory.pinned(SIZE), memory.pinned(SIZE)
    address, stream = memory.device(SIZE), memory.stream()

    def work() -> None:
        cuda.copy_to_device(address, host, stream)
        cuda.copy_to_host(back, address, stream)

    replay = cuda.capture(stream, work)
    if replay is None:
        assert not isinstance(cuda, CudaPython)
        return
    for value in (3, 4):
        host[:] = value
        replay.launch()
        cuda.synchronize(stream)
        assert (back == value).all()
    replay.free()


def test_another_thread_can_use_it(cuda: Cuda, memory: Memory) -> None:
    host, back = memory.pinned(SIZE), memory.pinned(SIZE)
    address, stream = memory.device(SIZE), memory.stream()
    host[:] = 7

    def work() -> None:
        cuda.activate()
        cuda.copy_to_device(address, host, stream)
        cuda.copy_to_host(back, address, stream)
        cuda.synchronize(stream)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert (back == 7).all()


def test_the_gpu_is_described(cuda: Cuda) -> None:
    gpu = cuda.describe()
    assert gpu.name
    assert gpu.major >= 5
    assert 0 < gpu.free_bytes <= gpu.memory_bytes


def test_too_much_memory_is_refused_in_words(cuda: Cuda) -> None:
    with pytest.raises(EngineError, match="memory is full, close other programs"):
        cuda.allocate(cuda.describe().memory_bytes * 4)
