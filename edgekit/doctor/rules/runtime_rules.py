"""Rules about numpy and the runtimes of models."""

from __future__ import annotations

from edgekit.doctor.records import Facts
from edgekit.doctor.rules.base import ANY, BOARDS, JETSON, OTHER, Rule, always, is_32_bit_arm


def _has_no_runtime(f: Facts) -> bool:
    return f.litert.missing and f.tflite_runtime.missing


NUMPY_RULES = (
    Rule(
        "numpy missing", "numpy", BOARDS, lambda f: f.numpy.missing, "fail", "not installed",
        "sudo apt install -y python3-numpy",
    ),
    Rule(
        "numpy missing on a workstation", "numpy", OTHER, lambda f: f.numpy.missing, "fail",
        "not installed",
        "{f.pip} install numpy",
    ),
    Rule(
        "numpy broken", "numpy", BOARDS, lambda f: f.numpy.broken, "fail",
        "cannot be imported: {f.numpy.error}",
        "{f.pip} uninstall -y numpy; sudo apt install --reinstall -y python3-numpy",
    ),
    Rule(
        "numpy broken on a workstation", "numpy", OTHER, lambda f: f.numpy.broken, "fail",
        "cannot be imported: {f.numpy.error}",
        "{f.pip} install --force-reinstall numpy",
    ),
    Rule("numpy", "numpy", ANY, always, "ok", "{f.numpy.version}, {f.numpy.file}"),
)  # fmt: skip

RUNTIME_RULES = (
    Rule(
        "LiteRT missing on 32 bit", "LiteRT", ANY,
        lambda f: _has_no_runtime(f) and is_32_bit_arm(f),
        "fail",
        "neither ai-edge-litert nor tflite-runtime is installed",
        "{f.pip} install tflite-runtime==2.14.0 'numpy<2'   # Python 3.11 at most",
    ),
    Rule(
        "LiteRT not needed", "LiteRT", JETSON, _has_no_runtime, "ok",
        "not installed: a Jetson runs TensorRT",
    ),
    Rule(
        "LiteRT missing", "LiteRT", ANY, _has_no_runtime, "fail",
        "neither ai-edge-litert nor tflite-runtime is installed",
        "{f.pip} install ai-edge-litert",
    ),
    Rule(
        "LiteRT without numpy", "LiteRT", ANY,
        lambda f: not f.runtime.works and not f.numpy.works,
        "fail",
        "cannot be imported without a numpy that works",
        "fix numpy, then edgekit doctor",
    ),
    Rule(
        "LiteRT broken on a Jetson", "LiteRT", JETSON, lambda f: not f.runtime.works, "warn",
        "cannot be imported, and a Jetson runs TensorRT: {f.runtime.error}",
        "{f.pip} install --force-reinstall --no-deps ai-edge-litert",
    ),
    Rule(
        "LiteRT of another build", "LiteRT", ANY,
        lambda f: not f.runtime.works and f.litert.fault == "other build",
        "fail",
        "ai-edge-litert was built for another Python or machine: {f.litert.error}",
        "{f.pip} install --force-reinstall --no-cache-dir --no-deps ai-edge-litert",
    ),
    Rule(
        "LiteRT broken", "LiteRT", ANY,
        lambda f: not f.runtime.works and f.litert.broken,
        "fail",
        "ai-edge-litert cannot be imported: {f.litert.error}",
        "{f.pip} install --force-reinstall --no-deps ai-edge-litert",
    ),
    Rule(
        "tflite-runtime broken", "LiteRT", ANY, lambda f: not f.runtime.works, "fail",
        "tflite-runtime cannot be imported: {f.tflite_runtime.error}",
        "{f.pip} install --force-reinstall tflite-runtime==2.14.0 'numpy<2'",
    ),
    Rule("LiteRT", "LiteRT", ANY, always, "ok", "{f.runtime_name} {f.runtime.version}"),
    Rule(
        "tflite-runtime with numpy 2", "numpy for tflite-runtime", ANY,
        lambda f: not f.litert.works and not f.tflite_runtime.missing and f.numpy.major >= 2,
        "fail",
        "numpy {f.numpy.version}, and tflite-runtime was built for numpy 1",
        "{f.pip} install 'numpy<2'",
    ),
    Rule(
        "numpy for tflite-runtime", "numpy for tflite-runtime", ANY,
        lambda f: not f.litert.works and f.tflite_runtime.works,
        "ok",
        "numpy {f.numpy.version}",
    ),
    Rule(
        "delegate on a Jetson", "delegate", JETSON,
        lambda f: f.runtime.works and f.delegate.delegate != "XNNPACK",
        "warn",
        "no XNNPACK in {f.runtime_name}, and a Jetson runs TensorRT: {f.delegate_trouble}",
        "{f.pip} install --upgrade --force-reinstall --no-deps ai-edge-litert",
    ),
    Rule(
        "delegate without OpenCV", "delegate", ANY,
        lambda f: f.runtime.works and f.delegate.error is not None and not f.opencv.works,
        "fail",
        "the built-in demo cannot be checked without an OpenCV that works",
        "fix OpenCV, then edgekit doctor",
    ),
    Rule(
        "model does not open", "delegate", ANY,
        lambda f: f.runtime.works and f.delegate.error is not None,
        "fail",
        "the built-in demo does not run on {f.runtime_name}: {f.delegate.error}",
        "{f.pip} install --force-reinstall {f.runtime_name}",
    ),
    Rule(
        "delegate missing on 32 bit", "delegate", ANY,
        lambda f: f.runtime.works and f.delegate.delegate is None and f.python.bits == 32,
        "warn",
        "none: {f.delegate.runtime} has no XNNPACK on 32 bit, so models run on its own kernels",
        "install the 64-bit system: Raspberry Pi Imager, Raspberry Pi OS (64-bit)",
    ),
    Rule(
        "delegate missing", "delegate", ANY,
        lambda f: f.runtime.works and f.delegate.delegate != "XNNPACK",
        "fail",
        "none loads: the built-in demo runs on {f.delegate.runtime} without XNNPACK",
        "{f.pip} install --upgrade --force-reinstall ai-edge-litert",
    ),
    Rule(
        "delegate", "delegate", ANY, lambda f: f.runtime.works, "ok",
        "{f.delegate.delegate} loads, and the built-in demo's golden images come out right",
    ),
    Rule(
        "ONNX Runtime without numpy", "ONNX Runtime", ANY,
        lambda f: f.onnxruntime.broken and not f.numpy.works,
        "warn",
        "cannot be imported without a numpy that works",
        "fix numpy, then edgekit doctor",
    ),
    Rule(
        "ONNX Runtime broken", "ONNX Runtime", ANY, lambda f: f.onnxruntime.broken, "warn",
        "cannot be imported: {f.onnxruntime.error}",
        "{f.pip} install --force-reinstall onnxruntime",
    ),
    Rule(
        "ONNX Runtime", "ONNX Runtime", ANY, lambda f: f.onnxruntime.works, "ok",
        "{f.onnxruntime.version}",
    ),
    Rule(
        "ONNX Runtime not needed", "ONNX Runtime", ANY, always, "ok",
        "not installed: needed only for a Jetson's bundle on another machine",
    ),
)  # fmt: skip
