"""Opens a model file or a bundle with the runtime that runs it here.

In: the content of a model file. Out: an `Engine`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgekit.engines.base import Engine, Kernels, ModelFormat
from edgekit.errors import MissingPackageError, ModelFileError
from edgekit.progress import SILENT, Progress
from edgekit.spec import Normalization, Precision

if TYPE_CHECKING:
    from edgekit.bundle import Bundle, Golden


def open_engine(
    model: bytes,
    *,
    threads: int = 1,
    kernels: Kernels = "default",
    normalization: Normalization | None = None,
    name: str = "model",
    precision: Precision | None = None,
    progress: Progress = SILENT,
) -> Engine:
    """Load a model file by its content: a TFLite flatbuffer, or ONNX as edgekit writes it.

    ONNX runs on TensorRT where there is one and a GPU, else on ONNX Runtime.

    Args:
        model: The content of the file.
        threads: How many cores one inference uses; a GPU does not take it.
        kernels: `"reference"` runs the runtime's plain kernels without a delegate.
        normalization: How the pixels of a TFLite model with a float input are normalized; `tf`
            unless given.
        name: What the model is called in errors.
        precision: What TensorRT may compute in; read from the file unless given.
        progress: Receives what TensorRT does where it has to build the engine first.

    Returns:
        The engine, ready to run.

    Raises:
        ModelFileError: `model` is in none of the known formats, or cannot be loaded.
        MissingPackageError: the runtime that it needs is not installed.
        EngineError: TensorRT cannot build or load its engine.
    """
    if find_format(model, name) == "onnx":
        return _open_onnx(model, threads, kernels, name, precision, progress=progress)
    from edgekit.engines.litert import LiteRTEngine

    return LiteRTEngine(
        model, threads=threads, kernels=kernels, normalization=normalization, name=name
    )


def open_bundle_engine(
    bundle: Bundle,
    *,
    threads: int = 1,
    kernels: Kernels = "default",
    progress: Progress = SILENT,
) -> Engine:
    """Load a bundle's artifact. Of a `best` bundle on a GPU, the precision that wins there.

    Args:
        bundle: The opened bundle.
        threads: How many cores one inference uses; a GPU does not take it.
        kernels: `"reference"` runs the runtime's plain kernels without a delegate.
        progress: Receives what TensorRT does where it has to build the engine first.

    Returns:
        The engine, ready to run.

    Raises:
        ModelFileError: the artifact cannot be loaded.
        MissingPackageError: the runtime that it needs is not installed.
        EngineError: TensorRT cannot build or load its engine.
    """
    name = str(bundle.path)
    if find_format(bundle.model, name) != "onnx":
        return open_engine(bundle.model, threads=threads, kernels=kernels, name=name)
    return _open_onnx(
        bundle.model,
        threads,
        kernels,
        name,
        bundle.manifest.precision,
        fp16_model=bundle.fp16_model,
        golden=bundle.golden(),
        progress=progress,
    )


def open_reference_engine(model: bytes, *, name: str = "model") -> Engine:
    """Load a model file for comparisons, one thread: ONNX runs on ONNX Runtime even beside a GPU.

    Raises ModelFileError when `model` is in none of the known formats.
    """
    if find_format(model, name) != "onnx":
        return open_engine(model, name=name)
    from edgekit.engines.onnx_runtime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(model, name=name)


def find_format(model: bytes, name: str) -> ModelFormat:
    """The format of a model file by its first bytes. Raises ModelFileError for any other file."""
    if model[4:8] == b"TFL3":
        return "tflite"
    # Field 1 of an ONNX file is the version of the format, as a varint.
    if model[:1] == b"\x08" and len(model) > 2 and 3 <= model[1] <= 32:
        return "onnx"
    raise ModelFileError(
        f"{name} begins with {model[:8]!r}, so it is not a TFLite or ONNX model:"
        " expected a .tflite file or a bundle"
    )


def _open_onnx(
    model: bytes,
    threads: int,
    kernels: Kernels,
    name: str,
    precision: Precision | None,
    *,
    fp16_model: bytes | None = None,
    golden: Sequence[Golden] = (),
    progress: Progress,
) -> Engine:
    from edgekit.engines.tensorrt.engine_provider import why_unavailable

    reason = why_unavailable() if kernels == "default" else "its plain kernels were asked for"
    if reason is None:
        from edgekit.engines.tensorrt.engine_provider import open_tensorrt_engine

        precision = precision or ("int8" if b"QuantizeLinear" in model else "fp32")
        return open_tensorrt_engine(
            model,
            precision=precision,
            fp16_model=fp16_model,
            golden=golden,
            name=name,
            progress=progress,
        )
    from edgekit.engines.onnx_runtime import OnnxRuntimeEngine

    try:
        return OnnxRuntimeEngine(
            model, threads=threads, kernels=kernels, name=name, note=f"no TensorRT here: {reason}"
        )
    except MissingPackageError as error:
        raise MissingPackageError(
            f"{name} is for a Jetson, and TensorRT cannot run it here: {reason}; {error}"
        ) from error
