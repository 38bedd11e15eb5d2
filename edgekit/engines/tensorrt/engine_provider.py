"""Provides the engine of an ONNX file: from the cache, or built, and then loaded.

In: the content of an ONNX file. Out: an engine plan, or an `Engine` that runs it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from edgekit.board.jetson_sensors import JetsonSettings
from edgekit.board.machine import ROOT
from edgekit.bundle import Golden
from edgekit.engines.base import Engine
from edgekit.engines.tensorrt.build import (
    RULES,
    build_engine,
    choose_capabilities,
    explain_unserved,
)
from edgekit.engines.tensorrt.cuda import Cuda, Gpu, open_cuda
from edgekit.engines.tensorrt.engine import TensorRTEngine
from edgekit.engines.tensorrt.engine_cache import (
    EngineCache,
    EngineKey,
    StoredEngine,
    sha256,
)
from edgekit.engines.tensorrt.library import Library, find_library
from edgekit.engines.tensorrt.precision_choice import choose_precision
from edgekit.engines.tensorrt.supported_gpus import check_board, has_int8
from edgekit.errors import EngineError, MissingPackageError, OutputError
from edgekit.progress import SILENT, Progress
from edgekit.spec import Precision

_SYSTEM_TOOLS = "/usr/sbin:/usr/bin:/sbin:/bin"


class Machine(NamedTuple):
    """TensorRT and the GPU of this machine; without a GPU, engines can be built at most.

    `why_not` says why no engine can run here: no GPU, or one that this TensorRT does not serve.
    """

    library: Library
    cuda: Cuda | None
    gpu: Gpu | None
    why_not: str | None
    power_mode: str | None

    def runs(self) -> tuple[Cuda, Gpu]:
        """CUDA and the GPU. Raises EngineError where no engine can run."""
        if self.cuda is None or self.gpu is None or self.why_not is not None:
            raise EngineError(self.why_not or "no NVIDIA GPU can be used here")
        return self.cuda, self.gpu


class Candidate(NamedTuple):
    """An ONNX file and what it may be computed in."""

    model: bytes
    precision: Precision


class Provided(NamedTuple):
    """An engine plan of this machine. `path` is None where the cache cannot be written."""

    plan: bytes
    stored: StoredEngine
    path: Path | None
    cached: bool


def find_machine() -> Machine:
    """Look for TensorRT and a GPU. Raises MissingPackageError without TensorRT, EngineError for a
    board that edgekit does not serve."""
    library = find_library()
    try:
        cuda = open_cuda()
        gpu = cuda.describe()
    except (EngineError, MissingPackageError) as error:
        return Machine(library, None, None, str(error), None)
    check_board(gpu)
    power_mode = JetsonSettings(ROOT, _SYSTEM_TOOLS).power_mode()
    return Machine(library, cuda, gpu, explain_unserved(library, gpu), power_mode)


def why_unavailable() -> str | None:
    """Why TensorRT cannot run anything here, in words; None where it can."""
    try:
        return find_machine().why_not
    except (EngineError, MissingPackageError) as error:
        return str(error)


def open_tensorrt_engine(
    model: bytes,
    *,
    precision: Precision,
    fp16_model: bytes | None = None,
    golden: Sequence[Golden] = (),
    name: str = "model",
    progress: Progress = SILENT,
) -> Engine:
    """Load the engine of an ONNX file, building it first where the cache has none.

    Args:
        model: The content of the ONNX file; of precision `best`, the int8 candidate.
        precision: What it may be computed in.
        fp16_model: Of precision `best`, the float16 candidate.
        golden: Images with their logits, which both candidates are checked with.
        name: What the model is called in errors.
        progress: Receives the steps of building.

    Returns:
        The engine, ready to run.

    Raises:
        EngineError: No engine can run here, or building fails.
        ConversionError: TensorRT does not take the file.
        MissingPackageError: TensorRT or a binding of CUDA is not installed.
    """
    machine = find_machine()
    cuda, gpu = machine.runs()
    candidate = Candidate(model, precision)
    if precision == "best":
        candidate = choose(machine, Candidate(model, "int8"), fp16_model, golden, name, progress)
    provided = provide_engine(machine, candidate, progress=progress)
    engine = TensorRTEngine(provided.plan, library=machine.library, cuda=cuda, gpu=gpu, name=name)
    engine.description = replace(engine.description, build_s=provided.stored.build_s)
    return engine


def provide_engine(
    machine: Machine,
    candidate: Candidate,
    *,
    progress: Progress = SILENT,
    force: bool = False,
    must_store: bool = False,
    cache: EngineCache | None = None,
) -> Provided:
    """Find the engine of a candidate for this machine in the cache, or build it.

    Args:
        machine: The library and the GPU to build for.
        candidate: The ONNX file, and what it may be computed in.
        progress: Receives the steps of building.
        force: Build it even where the cache has it.
        must_store: Refuse to build where the cache cannot be written.
        cache: Where engines are stored; None for the user's cache.

    Returns:
        The engine plan.

    Raises:
        EngineError: Building fails, or the GPU has no int8 instructions.
        ConversionError: TensorRT does not take the file.
        OutputError: The cache cannot be written, with `must_store`.

    Where the cache cannot be written, a note says so and the engine is used all the same; with
    `must_store` OutputError is raised instead.
    """
    cache = cache or EngineCache()
    if candidate.precision == "int8" and machine.gpu is not None and not has_int8(machine.gpu):
        raise EngineError(
            f"{machine.gpu.name} (compute capability {machine.gpu.major}.{machine.gpu.minor}) has"
            " no int8 instructions: convert again with --precision fp16"
        )
    key = make_key(machine, candidate)
    with cache.lock(key, progress):
        found = None if force else cache.read(key)
        if found is not None:
            return Provided(*found, cache.path(key), cached=True)
        if must_store:
            cache.check_writable()  # before minutes are spent on a board
        plan, stored = _build(machine, candidate, key, cache, progress)
        try:
            path: Path | None = cache.write(plan, stored)
        except OutputError as error:
            if must_store:
                raise
            progress.note(
                "warning: the engine is used but not kept, so the next start builds it again:"
                f" {error}"
            )
            path = None
    return Provided(plan, stored, path, cached=False)


def make_key(machine: Machine, candidate: Candidate) -> EngineKey:
    """The key of the candidate's engine on this machine."""
    gpu = machine.gpu
    own = (gpu.capability,) if gpu else ()
    return EngineKey(
        model_sha256=sha256(candidate.model),
        library=machine.library.name,
        version=machine.library.version,
        gpu=gpu.name if gpu else None,
        capabilities=choose_capabilities(machine.library, gpu) or own,
        precision=candidate.precision,
        power_mode=machine.power_mode,
        rules=RULES,
    )


def _build(
    machine: Machine,
    candidate: Candidate,
    key: EngineKey,
    cache: EngineCache,
    progress: Progress,
) -> tuple[bytes, StoredEngine]:
    library, gpu = machine.library, machine.gpu
    where = gpu.name if gpu else f"{', '.join(key.capabilities)}, since there is no GPU here"
    progress.step(
        f"building the {candidate.precision} engine with {library.name} {library.version}"
        f" for {where}"
    )
    timings = _name_note("timings", library.name, library.version, key.gpu)
    built = build_engine(
        candidate.model,
        library=library,
        precision=candidate.precision,
        capabilities=choose_capabilities(library, gpu),
        free_bytes=gpu.free_bytes if gpu else None,
        timing_cache=cache.read_note(timings),
        progress=progress,
    )
    if built.timing_cache:
        # It only saves time; writing the engine reports a cache that cannot be written.
        with contextlib.suppress(OutputError):
            cache.write_note(timings, built.timing_cache)
    weighted = [layer for layer in built.layers if layer.is_weighted]
    stored = StoredEngine(
        key=key,
        plan_sha256=sha256(built.plan),
        layers=len(built.layers),
        weighted_layers=len(weighted),
        int8_layers=sum(layer.precision == "int8" for layer in weighted),
        build_s=built.seconds,
    )
    return built.plan, stored


def _name_note(kind: str, *parts: object) -> str:
    return f"{kind}-{sha256(repr(parts).encode())[:16]}"


def choose(
    machine: Machine,
    int8: Candidate,
    fp16_model: bytes | None,
    golden: Sequence[Golden],
    name: str,
    progress: Progress,
    *,
    force: bool = False,
    cache: EngineCache | None = None,
) -> Candidate:
    """Choose the candidate of a `best` bundle that is faster on this GPU.

    The choice is stored in the cache.

    Args:
        machine: The library and the GPU.
        int8: The int8 candidate.
        fp16_model: The float16 candidate's ONNX file; None where the bundle has none.
        golden: Images with their logits, which both candidates are checked with.
        name: What the model is called in errors.
        progress: Receives the steps of building.
        force: Measure again even where the cache has the choice.
        cache: Where engines and choices are stored; None for the user's cache.

    Returns:
        The candidate that won.

    Raises:
        EngineError: There is no GPU, or neither candidate gives the golden answers.
    """
    cuda, gpu = machine.runs()
    if fp16_model is None:
        raise EngineError(f"{name} holds no float16 model to compare with: convert it again")
    candidates = {"fp16": Candidate(fp16_model, "fp16")}
    if has_int8(gpu):
        candidates["int8"] = int8
    cache = cache or EngineCache()
    note = (
        f"choice-{sha256(repr([make_key(machine, c) for c in candidates.values()]).encode())[:16]}"
    )
    cached = None if force else cache.read_note(note)
    if cached is not None and cached.decode(errors="replace") in candidates:
        return candidates[cached.decode()]
    with contextlib.ExitStack() as opened:
        engines = {}
        for kind, candidate in candidates.items():
            plan = provide_engine(machine, candidate, progress=progress, cache=cache).plan
            engine = TensorRTEngine(plan, library=machine.library, cuda=cuda, gpu=gpu, name=name)
            opened.callback(engine.close)
            engines[kind] = engine
        choice = choose_precision(engines, golden)
    progress.note(choice.reason)
    try:
        cache.write_note(note, choice.winner.encode())
    except OutputError as error:
        progress.note(f"warning: the choice is not kept, so the next start measures again: {error}")
    return candidates[choice.winner]
