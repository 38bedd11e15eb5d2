"""What the tests on an NVIDIA GPU share, and why they skip elsewhere."""

from __future__ import annotations

import pytest

from edgekit.errors import EngineError, MissingPackageError
from edgekit.runtime.tensorrt.cuda import Cuda, CudaPython, PyCuda
from edgekit.runtime.tensorrt.opening import Machine, find_machine

COMMAND = "run it on a Jetson, or beside any NVIDIA GPU: pytest tests/hardware/jetson -v"
BINDINGS = {"cuda-python": CudaPython, "pycuda": PyCuda}


@pytest.fixture(params=BINDINGS)
def cuda(request: pytest.FixtureRequest) -> Cuda:
    """CUDA through each package that is installed."""
    try:
        opened: Cuda = BINDINGS[request.param]()
    except ImportError as error:
        pytest.skip(f"{error}: pip install {request.param}, then {COMMAND}")
    except EngineError as error:
        pytest.skip(f"{error}: {COMMAND}")
    return opened


@pytest.fixture(scope="session")
def machine() -> Machine:
    """TensorRT and a GPU that it serves."""
    try:
        found = find_machine()
        found.runs()
    except (EngineError, MissingPackageError) as error:
        pytest.skip(f"{error}: {COMMAND}")
    return found
