"""Manages device memory, pinned host memory and streams, with cuda-python or pycuda."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from edgekit.errors import EngineError, MissingPackageError

Bytes = npt.NDArray[np.uint8]


class Gpu(NamedTuple):
    """The first GPU of this machine. Memory in bytes; a Jetson's is the system's own."""

    name: str
    major: int
    minor: int
    memory_bytes: int
    free_bytes: int

    @property
    def capability(self) -> str:
        """As `SM87`."""
        return f"SM{self.major}{self.minor}"


class Cuda(Protocol):
    """What an engine needs of CUDA. Used by one thread at a time, after `activate` in it.

    Addresses and stream handles are integers. Every call raises EngineError with CUDA's own name
    of what went wrong.
    """

    package: str

    def describe(self) -> Gpu: ...

    def activate(self) -> None:
        """Make the device current in this thread."""

    def allocate(self, size_bytes: int) -> int: ...

    def free(self, address: int) -> None: ...

    def allocate_pinned(self, size_bytes: int) -> Bytes:
        """Pinned host memory, which the GPU copies directly, as `(size_bytes,) uint8`."""

    def free_pinned(self, memory: Bytes) -> None: ...

    def create_stream(self) -> int: ...

    def destroy_stream(self, stream: int) -> None: ...

    def copy_to_device(self, address: int, host: Bytes, stream: int) -> None:
        """Begin to copy memory to the GPU.

        Args:
            address: Where it goes on the GPU.
            host: `(size_bytes,) uint8`, which must not change until the stream is synchronized.
            stream: The stream that copies.
        """

    def copy_to_host(self, host: Bytes, address: int, stream: int) -> None:
        """Begin to copy memory from the GPU.

        Args:
            host: `(size_bytes,) uint8`, which holds the copy once the stream is synchronized.
            address: Where it is on the GPU.
            stream: The stream that copies.
        """

    def synchronize(self, stream: int) -> None: ...

    def capture(self, stream: int, work: Callable[[], None]) -> Replay | None:
        """What `work` puts on the stream as a graph; None where that cannot be captured."""


class Replay(NamedTuple):
    """A captured CUDA graph: `launch` puts it on its stream, `free` frees it."""

    launch: Callable[[], None]
    free: Callable[[], None]


def open_cuda() -> Cuda:
    """CUDA through the package that is installed, cuda-python first.

    Raises MissingPackageError without either, EngineError without a GPU or driver.
    """
    try:
        return CudaPython()
    except ImportError:
        pass
    try:
        return PyCuda()
    except ImportError as error:
        raise MissingPackageError(
            "neither cuda-python nor pycuda can be imported, and TensorRT needs one of them for"
            f" the GPU's memory ({error}): pip install cuda-python, or on JetPack 6 pip install"
            " 'cuda-python<13'"
        ) from error


def no_gpu(reason: str) -> EngineError:
    """The error of a machine on which CUDA finds nothing to run on."""
    return EngineError(
        f"no NVIDIA GPU can be used here ({reason}): expected a Jetson with its driver; run this"
        " on the board"
    )


class CudaPython:
    """cuda-python's runtime API, which keeps the device's primary context by itself."""

    package = "cuda-python"

    def __init__(self) -> None:
        self._api = import_runtime()
        try:
            error, count = self._api.cudaGetDeviceCount()
        except RuntimeError as failure:  # cuda-python 12 looks for the driver itself
            raise no_gpu(str(failure)) from failure
        if error != self._api.cudaError_t.cudaSuccess or not count:
            raise no_gpu(self._name(error) if int(error) else "CUDA counts none")
        self.activate()

    def _name(self, error: Any) -> str:
        _, name = self._api.cudaGetErrorName(error)
        return name.decode() if isinstance(name, bytes) else str(name)

    def _call(self, function: str, *args: Any) -> Any:
        """Call and return what follows the error code: a value, or None."""
        error, *values = getattr(self._api, function)(*args)
        if error != self._api.cudaError_t.cudaSuccess:
            raise EngineError(
                f"{function} failed with {self._name(error)}: {find_fix(self._name(error))}"
            )
        return values[0] if len(values) == 1 else (tuple(values) or None)

    def activate(self) -> None:
        self._call("cudaSetDevice", 0)

    def describe(self) -> Gpu:
        properties = self._call("cudaGetDeviceProperties", 0)
        free, total = self._call("cudaMemGetInfo")
        name = properties.name
        return Gpu(
            name=name.decode() if isinstance(name, bytes) else str(name),
            major=int(properties.major),
            minor=int(properties.minor),
            memory_bytes=int(total),
            free_bytes=int(free),
        )

    def allocate(self, size_bytes: int) -> int:
        return int(self._call("cudaMalloc", size_bytes))

    def free(self, address: int) -> None:
        self._call("cudaFree", address)

    def allocate_pinned(self, size_bytes: int) -> Bytes:
        address = int(self._call("cudaMallocHost", size_bytes))
        memory: Bytes = np.ctypeslib.as_array((ctypes.c_uint8 * size_bytes).from_address(address))
        return memory

    def free_pinned(self, memory: Bytes) -> None:
        self._call("cudaFreeHost", memory.ctypes.data)

    def create_stream(self) -> int:
        flags = self._api.cudaStreamNonBlocking
        return int(self._call("cudaStreamCreateWithFlags", flags))

    def destroy_stream(self, stream: int) -> None:
        self._call("cudaStreamDestroy", stream)

    def copy_to_device(self, address: int, host: Bytes, stream: int) -> None:
        kind = self._api.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", address, host.ctypes.data, host.nbytes, kind, stream)

    def copy_to_host(self, host: Bytes, address: int, stream: int) -> None:
        kind = self._api.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", host.ctypes.data, address, host.nbytes, kind, stream)

    def synchronize(self, stream: int) -> None:
        self._call("cudaStreamSynchronize", stream)

    def capture(self, stream: int, work: Callable[[], None]) -> Replay | None:
        mode = self._api.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)
        try:
            work()
        except EngineError:
            self._end_broken_capture(stream)
            return None
        error, graph = self._api.cudaStreamEndCapture(stream)
        if error != self._api.cudaError_t.cudaSuccess:
            return None
        try:
            launchable = self._call("cudaGraphInstantiate", graph, 0)
        except EngineError:
            self._call("cudaGraphDestroy", graph)
            return None

        def free() -> None:
            self._call("cudaGraphExecDestroy", launchable)
            self._call("cudaGraphDestroy", graph)

        return Replay(lambda: self._call("cudaGraphLaunch", launchable, stream), free)

    def _end_broken_capture(self, stream: int) -> None:
        error, graph = self._api.cudaStreamEndCapture(stream)
        if error == self._api.cudaError_t.cudaSuccess:
            self._call("cudaGraphDestroy", graph)


class PyCuda:
    """pycuda's driver API on the device's primary context, which TensorRT uses too.

    The context is pushed for each call alone: pycuda aborts the program when a thread ends that
    still has one, and frees memory only under the very context object that it came from, so the
    process has one. TensorRT's own CUDA runtime takes the primary context by itself.
    """

    package = "pycuda"
    _context: Any = None

    def __init__(self) -> None:
        import pycuda.driver

        self._api = pycuda.driver
        try:
            self._api.init()
            self._device = self._api.Device(0)
            if PyCuda._context is None:
                PyCuda._context = self._device.retain_primary_context()
        except self._api.Error as error:
            raise no_gpu(str(error)) from error
        self._allocations: dict[int, Any] = {}
        self._streams: dict[int, Any] = {}

    def activate(self) -> None:
        """Each call does so for itself."""

    @contextmanager
    def _current(self) -> Iterator[None]:
        try:
            self._context.push()
            try:
                yield
            finally:
                self._context.pop()
        except self._api.Error as error:
            raise EngineError(f"{error}: {find_fix(str(error))}") from error

    def _call(self, work: Callable[[], Any]) -> Any:
        with self._current():
            return work()

    def describe(self) -> Gpu:
        major, minor = self._call(self._device.compute_capability)
        free, total = self._call(self._api.mem_get_info)
        return Gpu(self._call(self._device.name), major, minor, int(total), int(free))

    def allocate(self, size_bytes: int) -> int:
        allocation = self._call(lambda: self._api.mem_alloc(size_bytes))
        self._allocations[int(allocation)] = allocation
        return int(allocation)

    def free(self, address: int) -> None:
        self._call(self._allocations.pop(address).free)

    def allocate_pinned(self, size_bytes: int) -> Bytes:
        memory: Bytes = self._call(lambda: self._api.pagelocked_empty(size_bytes, np.uint8))
        return memory

    def free_pinned(self, memory: Bytes) -> None:
        owner: Any = memory.base
        self._call(owner.free)

    def create_stream(self) -> int:
        stream = self._call(self._api.Stream)
        self._streams[int(stream.handle)] = stream
        return int(stream.handle)

    def destroy_stream(self, stream: int) -> None:
        with self._current():
            del self._streams[stream]

    def copy_to_device(self, address: int, host: Bytes, stream: int) -> None:
        self._call(lambda: self._api.memcpy_htod_async(address, host, self._streams[stream]))

    def copy_to_host(self, host: Bytes, address: int, stream: int) -> None:
        self._call(lambda: self._api.memcpy_dtoh_async(host, address, self._streams[stream]))

    def synchronize(self, stream: int) -> None:
        self._call(self._streams[stream].synchronize)

    def capture(self, stream: int, work: Callable[[], None]) -> Replay | None:
        """pycuda is used without graphs."""
        return None


def import_runtime() -> Any:
    """`cuda.bindings.runtime`, or where cuda-python up to 12.6.0 keeps it."""
    try:
        from cuda.bindings import runtime
    except ImportError:
        from cuda import cudart as runtime
    return runtime


def find_fix(name: str) -> str:
    """What to do about the CUDA error called `name`."""
    if ("emory" in name and "llocation" in name) or "out of memory" in name:
        return "the GPU's memory is full, close other programs"
    return "the GPU or its driver does not do what was asked, restart the program, then the board"
