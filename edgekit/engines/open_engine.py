"""Which runtime opens which model file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from edgekit.engines.base import Engine, Kernels, ModelFormat
from edgekit.errors import MissingPackageError, ModelFileError
from edgekit.spec import Normalization, Precision

if TYPE_CHECKING:
    from edgekit.bundle import Bundle, Golden

Say = Callable[[str], None]


def open_engine(
    model: bytes,
    *,
    threads: int = 1,
    kernels: Kernels = "default",
    normalization: Normalization | None = None,
    name: str = "model",
    precision: Precision | None = None,
    say: Say = lambda text: None,
) -> Engine:
    """Load a model file by its content: a TFLite flatbuffer, or ONNX as edgekit writes it.

    `kernels="reference"` runs the runtime's plain kernels without a delegate; `normalization` is
    what the host does for a TFLite model with a float input, `tf` unless given. ONNX runs on
    TensorRT where there is one and a GPU, else on ONNX Runtime; `precision` tells TensorRT what it
    may compute in, and `say` hears what building takes. Raises ModelFileError when `model` is none
    of the known formats.
    """
    if find_format(model, name) == "onnx":
        return _open_onnx(model, threads, kernels, name, precision, say=say)
    from edgekit.engines.litert import LiteRTEngine

    return LiteRTEngine(
        model, threads=threads, kernels=kernels, normalization=normalization, name=name
    )


def open_bundle_engine(
    bundle: Bundle,
    *,
    threads: int = 1,
    kernels: Kernels = "default",
    say: Say = lambda text: None,
) -> Engine:
    """Load a bundle's artifact. Of a `best` bundle on a GPU, the precision that wins there."""
    name = str(bundle.path)
    if find_format(bundle.model, name) != "onnx":
        return open_engine(bundle.model, threads=threads, kernels=kernels, name=name)
    return _open_onnx(
        bundle.model,
        threads,
        kernels,
        name,
        bundle.manifest.precision,
        half=bundle.half,
        golden=bundle.golden(),
        say=say,
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
    half: bytes | None = None,
    golden: Sequence[Golden] = (),
    say: Say,
) -> Engine:
    from edgekit.engines.tensorrt.engine_provider import why_unavailable

    reason = why_unavailable() if kernels == "default" else "its plain kernels were asked for"
    if reason is None:
        from edgekit.engines.tensorrt.engine_provider import open_tensorrt_engine

        known = precision or ("int8" if b"QuantizeLinear" in model else "fp32")
        return open_tensorrt_engine(
            model, precision=known, half=half, golden=golden, name=name, say=say
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
