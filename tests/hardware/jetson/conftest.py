"""What the tests on an NVIDIA GPU share, and why they skip elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from edgekit.engines.tensorrt.cuda import (
    Bytes,
    Cuda,
    CudaPython,
    PyCuda,
)
from edgekit.engines.tensorrt.engine_provider import Machine, find_machine
from edgekit.errors import EngineError, MissingPackageError

COMMAND = "run it on a Jetson, or beside any NVIDIA GPU: pytest tests/hardware/jetson -v"
BINDINGS: dict[str, Callable[[], Cuda]] = {"cuda-python": CudaPython, "pycuda": PyCuda}


@pytest.fixture(params=BINDINGS)
def cuda(request: pytest.FixtureRequest) -> Cuda:
    """CUDA through each package that is installed."""
    try:
        opened = BINDINGS[request.param]()
    except ImportError as error:
        pytest.skip(f"{error}: pip install {request.param}, then {COMMAND}")
    except EngineError as error:
        pytest.skip(f"{error}: {COMMAND}")
    return opened


class Memory:
    """Allocates, and gives everything back when the test ends: leak checkers find nothing."""

    def __init__(self, cuda: Cuda, releases: ExitStack) -> None:
        self._cuda, self._releases = cuda, releases

    def pinned(self, size_bytes: int) -> Bytes:
        memory = self._cuda.allocate_pinned(size_bytes)
        self._releases.callback(self._cuda.free_pinned, memory)
        return memory

    def device(self, size_bytes: int) -> int:
        address = self._cuda.allocate(size_bytes)
        self._releases.callback(self._cuda.free, address)
        return address

    def stream(self) -> int:
        stream = self._cuda.create_stream()
        self._releases.callback(self._cuda.destroy_stream, stream)
        return stream


@pytest.fixture
def memory(cuda: Cuda) -> Iterator[Memory]:
    with ExitStack() as releases:
        yield Memory(cuda, releases)


@pytest.fixture(scope="session")
def machine() -> Machine:
    """TensorRT and a GPU that it serves."""
    try:
        found = find_machine()
        found.runs()
    except (EngineError, MissingPackageError) as error:
        pytest.skip(f"{error}: {COMMAND}")
    return found
