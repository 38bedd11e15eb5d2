"""Runs a TensorRT engine plan as an `Engine`, with pinned memory, one stream and a CUDA graph."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from edgekit.arrays import Logits, ModelPixels
from edgekit.engines.base import IMAGE_INPUT, Engine, EngineDescription, LayerProfile
from edgekit.engines.tensorrt.build_log import BuildLog, listen
from edgekit.engines.tensorrt.cuda import (
    Bytes,
    Cuda,
    Gpu,
    Replay,
)
from edgekit.engines.tensorrt.library import Library
from edgekit.errors import EngineError, ModelFileError

TOLERANCE = 1e-2
"""Of the largest logit: other kernels sum in another order, so codes differ by one."""


class TensorRTEngine(Engine):
    """An engine plan with one `(1, H, W, C) uint8` input and one `(1, classes) float32` output."""

    model_format = "onnx"

    def __init__(
        self, plan: bytes, *, library: Library, cuda: Cuda, gpu: Gpu, name: str = "engine"
    ) -> None:
        """Load a plan.

        Args:
            plan: The serialized engine.
            library: TensorRT or TensorRT-RTX.
            cuda: Access to device memory and streams.
            gpu: The GPU that runs it.
            name: What errors call the engine.

        Raises:
            EngineError: The plan cannot be loaded here.
            ModelFileError: The plan has other tensors.
        """
        self._library, self._cuda = library, cuda
        self._releases: list[Callable[[], None]] = []
        self._log = BuildLog()
        trt = library.module
        self._logger = listen(trt, self._log)
        self._runtime = trt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise EngineError(
                f"{library.name} {library.version} cannot load the engine of {name} on"
                f" {gpu.name}: {self._log.reason()}: build it again with edgekit build --force"
            )
        self._read_tensors(name)
        self.takes_float = False
        self.output_quantum = 0.0
        self.tolerance = TOLERANCE
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise EngineError(
                f"the GPU has no memory left to run {name} ({self._log.reason()}): close other"
                " programs"
            )
        try:
            self._allocate()
        except EngineError:
            with contextlib.suppress(EngineError):  # the first one says more
                self.close()
            raise
        self.description = EngineDescription(
            runtime=library.name,
            version=library.version,
            threads=1,
            delegate=f"{gpu.name} ({gpu.capability})",
            delegated_partitions=1,
            operators_outside={},
            note=None if self._replay else "without a CUDA graph: each kernel is started by itself",
        )

    def _read_tensors(self, name: str) -> None:
        """Read and check the names, shapes and types of input and output."""
        trt, engine = self._library.module, self._engine
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        modes = {tensor: engine.get_tensor_mode(tensor) for tensor in names}
        inputs = [tensor for tensor in names if modes[tensor] == trt.TensorIOMode.INPUT]
        outputs = [tensor for tensor in names if modes[tensor] == trt.TensorIOMode.OUTPUT]
        shapes = {tensor: tuple(engine.get_tensor_shape(tensor)) for tensor in names}
        kinds = {tensor: engine.get_tensor_dtype(tensor) for tensor in names}
        fits = (
            len(inputs) == len(outputs) == 1
            and self._read_input(shapes[inputs[0]])
            and kinds[inputs[0]] == trt.DataType.UINT8
            and kinds[outputs[0]] == trt.DataType.FLOAT
        )
        if not fits:
            seen = ", ".join(f"{tensor} {shapes[tensor]} {kinds[tensor]}" for tensor in names)
            raise ModelFileError(
                f"the engine of {name} has the tensors {seen}: expected"
                f" {IMAGE_INPUT}, in uint8, and one float32 output, as edgekit writes them"
            )
        self._input, self._output = inputs[0], outputs[0]
        self.outputs = int(np.prod(shapes[self._output]))

    def _allocate(self) -> None:
        cuda = self._cuda
        cuda.activate()
        self._stream = cuda.create_stream()
        self._releases.append(lambda: cuda.destroy_stream(self._stream))
        self._host_pixels = self._allocate_pinned(
            self.input_height * self.input_width * self.input_channels
        )
        self._host_scores = self._allocate_pinned(self.outputs * 4)
        self._device_pixels = self._allocate_device(self._host_pixels.nbytes)
        self._device_scores = self._allocate_device(self._host_scores.nbytes)
        self._bind(self._context)
        self._enqueue()  # the first run may allocate, which a graph cannot hold
        cuda.synchronize(self._stream)
        self._replay: Replay | None = cuda.capture(self._stream, self._enqueue)
        if self._replay is not None:
            self._releases.append(self._replay.free)

    def _bind(self, context: Any) -> None:
        addresses = {self._input: self._device_pixels, self._output: self._device_scores}
        for tensor, address in addresses.items():
            if not context.set_tensor_address(tensor, address):
                raise EngineError(
                    f"TensorRT does not take the memory of tensor {tensor}: {self._log.reason()}"
                )

    def _allocate_pinned(self, size_bytes: int) -> Bytes:
        memory = self._cuda.allocate_pinned(size_bytes)
        self._releases.append(lambda: self._cuda.free_pinned(memory))
        return memory

    def _allocate_device(self, size_bytes: int) -> int:
        address = self._cuda.allocate(size_bytes)
        self._releases.append(lambda: self._cuda.free(address))
        return address

    def _enqueue(self) -> None:
        """Put one inference on the stream: pixels in, the network, scores out."""
        cuda, stream = self._cuda, self._stream
        cuda.copy_to_device(self._device_pixels, self._host_pixels, stream)
        if not self._context.execute_async_v3(stream):
            raise EngineError(f"TensorRT could not start the network: {self._log.reason()}")
        cuda.copy_to_host(self._host_scores, self._device_scores, stream)

    def begin(self, pixels: ModelPixels) -> None:
        """Start one inference and return; `finish` waits for it.

        `pixels` are `(H, W, C) uint8` of the model's input size, and are copied.
        """
        self._cuda.activate()
        self._host_pixels[:] = pixels.reshape(-1)
        if self._replay is not None:
            self._replay.launch()
        else:
            self._enqueue()

    def finish(self) -> Logits:
        """The scores, `(classes,) float32`, of the inference that `begin` started."""
        self._cuda.synchronize(self._stream)
        scores = Logits(self._host_scores.view(np.float32).copy())
        return scores

    def _infer(self, pixels: ModelPixels) -> Logits:
        self.begin(pixels)
        return self.finish()

    def profile_layers(self, seconds: float) -> LayerProfile:
        """Time each layer by TensorRT's own profiler.

        The profiler synchronizes after every layer, so their sum exceeds an inference.
        """
        profiler = _make_profiler(self._library.module)
        self._cuda.activate()
        # A context of its own, so that profiling stays out of `_infer`.
        context = self._engine.create_execution_context()
        if context is None:
            raise EngineError(
                f"the GPU has no memory left to time the layers ({self._log.reason()}): close other"
                " programs"
            )
        context.profiler = profiler
        self._bind(context)
        runs = 0
        end = time.monotonic() + seconds
        while runs < 3 or time.monotonic() < end:
            if not context.execute_async_v3(self._stream):
                raise EngineError(f"TensorRT could not start the network: {self._log.reason()}")
            self._cuda.synchronize(self._stream)
            runs += 1
        return LayerProfile(list(profiler.times.items()), runs)

    def close(self) -> None:
        """Give back memory, graph and stream, newest first; EngineError after all were tried."""
        failures = []
        steps = [self._cuda.activate, *reversed(self._releases)] if self._releases else []
        self._releases.clear()
        for step in steps:
            try:
                step()
            except EngineError as error:
                failures.append(error)
        self._context = self._engine = self._runtime = None
        if failures:
            raise failures[0]


def _make_profiler(trt: Any) -> Any:
    class Profiler(trt.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.times: dict[str, list[float]] = {}

        def report_layer_time(self, name: str, milliseconds: float) -> None:
            self.times.setdefault(name, []).append(milliseconds)

    return Profiler()
