"""Builds a TensorRT engine plan. In: an ONNX file. Out: the plan, and what was built.

A plan fits one GPU and one TensorRT version, and is code: it is built where it runs, and never
taken from another machine.
"""

from __future__ import annotations

import threading
import time
from typing import Any, NamedTuple

from edgekit.background_thread import Background
from edgekit.engines.tensorrt.build_log import BuildLog, EngineLayer, listen
from edgekit.engines.tensorrt.cuda import Gpu
from edgekit.engines.tensorrt.library import Library
from edgekit.errors import ConversionError, EngineError
from edgekit.progress import SILENT, Progress
from edgekit.spec import Precision

RULES = 1
"""Raise it when flags, workspace or anything else below comes to make other engines."""
WORKSPACE_SHARE = 0.25
"""Fraction of the GPU's free memory, which on a Jetson is the system's."""
WORKSPACE_LEAST_BYTES = 64 << 20
_FLAGS: dict[Precision, tuple[str, ...]] = {
    "int8": ("INT8", "FP16"),
    "fp16": ("FP16",),
    "fp32": (),
}
_TURING = "SM75"
"""TensorRT-RTX has no float matrix products for it, and refuses networks that hold one."""
_LOOK_UP_S = 0.1
_GIVE_UP_S = 10.0


class Built(NamedTuple):
    """An engine plan, the timing cache for the next build, and the layers that the log lists."""

    plan: bytes
    timing_cache: bytes | None
    layers: list[EngineLayer]
    seconds: float


def choose_capabilities(library: Library, gpu: Gpu | None) -> tuple[str, ...]:
    """Choose the compute capabilities to build for where the library asks for them; () elsewhere.

    The GPU's own, or without a GPU all from Ampere on. Raises EngineError when the library does
    not know the GPU's, or wants a GPU and there is none.
    """
    offered = library.capabilities
    if gpu is None:
        if not offered:
            raise EngineError(
                f"{library.name} {library.version} builds for the GPU at hand, and there is none"
                " here: run edgekit build on the Jetson"
            )
        return tuple(name for name in offered if name != _TURING)
    reason = explain_unserved(library, gpu)
    if reason is not None:
        raise EngineError(reason)
    return (gpu.capability,) if offered else ()


def explain_unserved(library: Library, gpu: Gpu) -> str | None:
    """Why the library cannot build or load an engine for `gpu`, with the fix; None where it can."""
    offered = library.capabilities
    if not offered or gpu.capability in offered:
        return None
    return (
        f"{library.name} {library.version} does not build for {gpu.name}, compute capability"
        f" {gpu.major}.{gpu.minor}: it offers {', '.join(offered)}; install NVIDIA's tensorrt"
    )


def build_engine(
    model: bytes,
    *,
    library: Library,
    precision: Precision,
    capabilities: tuple[str, ...] = (),
    free_bytes: int | None = None,
    timing_cache: bytes | None = None,
    progress: Progress = SILENT,
) -> Built:
    """Parse an ONNX file and build its engine plan.

    Args:
        model: The content of the ONNX file.
        library: The TensorRT that builds it.
        precision: Which flags are set where the library has them; types in the file hold anyway.
        capabilities: The GPUs to build for, from `choose_capabilities`.
        free_bytes: The GPU's free memory, of which a quarter may be workspace; None for no limit.
        timing_cache: What an earlier build returned, to save time.
        progress: Receives how far each phase of the build is, where TensorRT reports it.

    Returns:
        The plan and what was built.

    Raises:
        ConversionError: TensorRT does not take the file; the message has its reason.
        EngineError: Building failed.
    """
    job = _Job(model, library, precision, capabilities, free_bytes, timing_cache)
    log = BuildLog()
    cancelled = threading.Event()
    ended = threading.Event()
    built: list[Built] = []

    def work() -> None:
        try:
            built.append(_build(job, log, progress, cancelled))
        finally:
            ended.set()

    thread = Background("edgekit-build", work)
    try:
        thread.start()
        # Not `join`: Python 3.11 takes a thread for ended when its join is interrupted.
        while not ended.wait(_LOOK_UP_S):
            pass
    except KeyboardInterrupt:
        cancelled.set()
        if ended.wait(_GIVE_UP_S):
            thread.join()
        raise
    thread.finish(_GIVE_UP_S)
    return built[0]


class _Job(NamedTuple):
    """What is built, as `build_engine` takes it."""

    model: bytes
    library: Library
    precision: Precision
    capabilities: tuple[str, ...]
    free_bytes: int | None
    timing_cache: bytes | None


def _build(job: _Job, log: BuildLog, progress: Progress, cancelled: threading.Event) -> Built:
    library = job.library
    began = time.monotonic()
    trt = library.module
    logger = listen(trt, log)
    builder = trt.Builder(logger)
    network = builder.create_network(library.network_flags)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(job.model):
        raise ConversionError(_explain_parser(parser, library, log))
    if network.num_outputs == 0:
        raise ConversionError(
            f"{library.name} {library.version} does not take this network: it has no outputs:"
            " expected an ONNX file that edgekit convert --target jetson wrote"
        )
    config = _configure(builder, job)
    if library.has_progress:
        config.progress_monitor = _make_monitor(trt, progress, cancelled)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(_explain_build(library, log, job.free_bytes))
    remembered = config.get_timing_cache() if library.has_timing_cache else None
    return Built(
        plan=bytes(plan),
        timing_cache=bytes(remembered.serialize()) if remembered is not None else None,
        layers=log.layers(),
        seconds=round(time.monotonic() - began, 3),
    )


def _configure(builder: Any, job: _Job) -> Any:
    """Make the builder's configuration: flags, workspace, GPUs and timing cache."""
    trt = job.library.module
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    for name in _FLAGS[job.precision]:
        if (flag := job.library.find_flag(name)) is not None:
            config.set_flag(flag)
    if job.free_bytes is not None:
        limit = max(WORKSPACE_LEAST_BYTES, int(job.free_bytes * WORKSPACE_SHARE))
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, limit)
    if job.capabilities:
        config.num_compute_capabilities = len(job.capabilities)
        for index, name in enumerate(job.capabilities):
            config.set_compute_capability(getattr(trt.ComputeCapability, name), index)
    if job.library.has_timing_cache:
        cache = config.create_timing_cache(job.timing_cache or b"")
        if cache is not None:  # the file was not a timing cache
            config.set_timing_cache(cache, ignore_mismatch=False)
    return config


def _make_monitor(trt: Any, progress: Progress, cancelled: threading.Event) -> Any:
    """TensorRT's own progress monitor; it ends the build when `cancelled` is set."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self._steps[phase] = max(1, steps)

        def step_complete(self, phase: str, step: int) -> bool:
            steps = self._steps.get(phase, 1)
            progress.update(min(step + 1, steps), steps, phase)
            return not cancelled.is_set()

        def phase_finish(self, phase: str) -> None:
            progress.update(1, 1, phase)

    return Monitor()


def _explain_parser(parser: Any, library: Library, log: BuildLog) -> str:
    """NVIDIA's own reasons why it does not take the network."""
    faults = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        named = error.node_name() if hasattr(error, "node_name") else f"node {error.node()}"
        kind = f"{error.node_operator()} " if hasattr(error, "node_operator") else ""
        faults.append(f"{kind}{named}: {' '.join(error.desc().split())[:200]}")
    reasons = "; ".join(faults[:3]) or log.reason()
    return (
        f"{library.name} {library.version} does not take this network: {reasons}: expected an ONNX"
        " file that edgekit convert --target jetson wrote"
    )


def _explain_build(library: Library, log: BuildLog, free_bytes: int | None) -> str:
    reason = log.reason()
    text = f"{library.name} {library.version} could not build the engine: {reason}"
    if any("memory" in error.lower() for error in log.errors):
        free = f"{free_bytes / 1e6:,.0f} MB were free; " if free_bytes is not None else ""
        return f"{text}: {free}close other programs, add swap, or take a smaller network"
    return f"{text}: report it with the bundle, or try --precision fp16"
