"""Asks packages what only they know. Each probe runs in a process of its own, which may crash.

A probe prints one JSON object as its last line. Whatever a broken package raises ends the process
with a traceback, whose last line `edgekit.doctor.commands.explain` reads.
"""

from __future__ import annotations

import platform
import re
import struct
import sys
from collections.abc import Callable, Sequence
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from edgekit.errors import EdgekitError, MissingPackageError
from edgekit.native_libraries import list_opencv_packages

_FRAME_TRIES = 5
"""A camera may fail to give its first frames while it starts."""


def main(arguments: Sequence[str]) -> None:
    """Run the probe `arguments[0]` and print what it found, or the `error` that edgekit raised."""
    import msgspec

    name, *rest = arguments
    try:
        found = PROBES[name](*rest)
    except EdgekitError as error:
        found = {"error": str(error)}
    sys.stdout.write("\n" + msgspec.json.encode(found).decode() + "\n")


def probe_python() -> dict[str, Any]:
    """The interpreter, its word size, and which OpenCVs pip has brought."""
    return {
        "version": platform.python_version(),
        "bits": struct.calcsize("P") * 8,
        "architecture": platform.machine(),
        "executable": sys.executable,
        "isolated": _is_isolated(),
        "opencv_from_pip": list_opencv_packages(),
    }


def _is_isolated() -> bool:
    """Whether this is a virtual environment that does not see the system's packages."""
    if sys.prefix == sys.base_prefix:
        return False
    settings = Path(sys.prefix, "pyvenv.cfg")
    text = settings.read_text(encoding="utf-8") if settings.exists() else ""
    return not re.search(r"^include-system-site-packages *= *true", text, re.I | re.M)


def _distribution_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def probe_module(name: str, distribution: str | None = None) -> dict[str, Any]:
    """Import a module: its version and its file."""
    module = import_module(name)
    top = sys.modules[name.partition(".")[0]]
    version = getattr(top, "__version__", None) or _distribution_version(distribution or name)
    return {"version": str(version or "unknown"), "file": getattr(module, "__file__", None)}


def probe_opencv() -> dict[str, Any]:
    """cv2, whether it was built with GStreamer, and what it lacks for cameras and videos."""
    import cv2

    built = set(re.findall(r"^\s*(\S+): +YES", cv2.getBuildInformation(), re.MULTILINE))
    gstreamer = "GStreamer" in built
    needed = {
        "video": hasattr(cv2, "VideoCapture"),
        "FFmpeg": "FFMPEG" in built or gstreamer,
        "Video4Linux": bool({"v4l/v4l2", "V4L/V4L2"} & built) or gstreamer,
    }
    lacks = [what for what, is_there in needed.items() if not is_there]
    return {**probe_module("cv2"), "gstreamer": gstreamer, "lacks": lacks}


def probe_gobject() -> dict[str, Any]:
    """PyGObject with GStreamer's two modules that a camera needs."""
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstApp", "1.0")
    from gi.repository import Gst, GstApp  # noqa: F401

    return {**probe_module("gi", "PyGObject"), "gstreamer": True}


def probe_delegate() -> dict[str, Any]:
    """Open the demo's model on LiteRT, and check it with its golden images."""
    from edgekit.bundle import open_bundle
    from edgekit.resources import demo_bundle
    from edgekit.runtime.classifier import Classifier
    from edgekit.runtime.golden_check import check_golden

    bundle = open_bundle(demo_bundle())
    classifier = Classifier.from_bundle(bundle)
    check_golden(bundle, classifier)
    made = classifier.engine.description
    return {"runtime": f"{made.runtime} {made.version}", "delegate": made.delegate}


def probe_gpu() -> dict[str, Any]:
    """The GPU as CUDA describes it."""
    from edgekit.engines.tensorrt.build import explain_unserved
    from edgekit.engines.tensorrt.cuda import open_cuda
    from edgekit.engines.tensorrt.library import find_library

    cuda = open_cuda()
    gpu = cuda.describe()
    try:
        unserved = explain_unserved(find_library(), gpu) is not None
    except MissingPackageError:
        unserved = False
    return {
        "name": gpu.name,
        "capability": [gpu.major, gpu.minor],
        "package": cuda.package,
        "unserved": unserved,
    }


def probe_elements() -> dict[str, Any]:
    """Which of NVIDIA's GStreamer elements for `csi://` are missing; none without GStreamer."""
    from edgekit.sources.gstreamer import list_missing_elements

    return {"missing": list_missing_elements("nvarguscamerasrc ! nvvidconv")}


def probe_devices() -> dict[str, Any]:
    """Every /dev/videoN, and what it says of itself."""
    from edgekit.sources.v4l2_devices import list_devices

    return {"devices": list_devices()}


def probe_camera(path: str) -> dict[str, Any]:
    """Open a camera and read one frame, then let it go."""
    import cv2

    capture = cv2.VideoCapture(path, cv2.CAP_V4L2)
    if not capture.isOpened():
        return {"error": "OpenCV cannot open it"}
    frame = None
    for _ in range(_FRAME_TRIES):
        _, frame = capture.read()
        if frame is not None:
            break
    capture.release()
    if frame is None:
        return {"error": f"it opens, but gives no frame in {_FRAME_TRIES} tries"}
    return {"width": frame.shape[1], "height": frame.shape[0]}


PROBES: dict[str, Callable[..., dict[str, Any]]] = {
    "python": probe_python,
    "numpy": lambda: probe_module("numpy"),
    "opencv": probe_opencv,
    "gobject": probe_gobject,
    "picamera2": lambda: probe_module("picamera2"),
    "ai-edge-litert": lambda: probe_module("ai_edge_litert.interpreter", "ai-edge-litert"),
    "tflite-runtime": lambda: probe_module("tflite_runtime.interpreter", "tflite-runtime"),
    "onnxruntime": lambda: probe_module("onnxruntime"),
    "tensorrt": lambda: probe_module("tensorrt"),
    "tensorrt-rtx": lambda: probe_module("tensorrt_rtx"),
    "delegate": probe_delegate,
    "gpu": probe_gpu,
    "elements": probe_elements,
    "devices": probe_devices,
    "camera": probe_camera,
}
