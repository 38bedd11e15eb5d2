"""Imports OpenCV and the like, and reports in one line why a machine's copy cannot be used.

In: the name of a module. Out: the module, or a MissingPackageError with the command that cures it.
Libraries with compiled parts fail in ways that Python's own message does not explain: built for
another numpy, for another Python or machine, or without a library of the system.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import re
import shlex
import sys
from functools import cache
from typing import Any, Literal

from edgekit.errors import MissingPackageError

ImportFault = Literal["missing", "numpy", "library", "other build", "other"]
"""Why an import fails: the package is not there; it was built for another numpy; a library of the
system is not there; it was built for another Python or machine; anything else."""

PACKAGES = {
    "cv2": "opencv-python-headless",
    "numpy": "numpy",
    "ai_edge_litert": "ai-edge-litert",
    "tflite_runtime": "tflite-runtime",
    "onnxruntime": "onnxruntime",
}
"""Module → the package of pip that brings it."""
OPENCV_PACKAGES = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
"""Packages of pip that bring a cv2 of their own; any two overwrite each other's files."""
NUMPY_CURE = "install 'numpy<2'"

_SIGNS: tuple[tuple[ImportFault, str], ...] = (
    (
        "numpy",
        r"_ARRAY_API not found|numpy\.core\.(multiarray|umath) failed to import"
        r"|compiled using NumPy 1|numpy\.(dtype|ufunc|ndarray) size changed"
        r"|compiled against (ABI|API) version",
    ),
    (
        "other build",
        r"libpython[\d.]+\S* ?: cannot open|invalid ELF header|wrong ELF class|Exec format error"
        r"|version `(GLIBC|GLIBCXX|CXXABI)_[\d.]+' not found|undefined symbol: _?Py"
        r"|No module named '\w+\.(_\w+|cv2)'|cannot import name '_\w+' from partially"
        r"|no C-extensions|Python version mismatch|missing configuration file",
    ),
    ("library", r"\.so[\d.]*: cannot open shared object file"),
)


def classify_import_error(text: str, module: str) -> ImportFault:
    """Find out why an import failed.

    Args:
        text: The exception's text.
        module: The module that was imported.

    Returns:
        The kind of fault.
    """
    for fault, pattern in _SIGNS:
        if re.search(pattern, text):
            return fault
    top = module.partition(".")[0]
    return "missing" if f"No module named '{top}'" in text else "other"


@cache
def load_opencv() -> Any:
    """The module cv2. Raises MissingPackageError."""
    return load_library("cv2")


def load_library(name: str) -> Any:
    """Import a module, keeping what it prints when it fails.

    Raises MissingPackageError with the cure when it cannot be imported.
    """
    printed = io.StringIO()  # numpy prints a page and a traceback before the exception
    try:
        with contextlib.redirect_stderr(printed):
            return importlib.import_module(name)
    except (ImportError, AttributeError, OSError, ValueError, SystemError) as error:
        raise explain_import_error(error, name) from error


def explain_import_error(error: BaseException, name: str) -> MissingPackageError:
    """The error for a person: what is wrong with a module here, and the command that cures it."""
    text = " ".join(str(error).split())
    fault = classify_import_error(text, name)
    top = name.partition(".")[0]
    reason = _shorten(text)
    pip = f"{shlex.quote(sys.executable)} -m pip"
    package = PACKAGES.get(top, top)
    if fault == "missing":
        advice = f"{pip} install {package}"
        if top == "cv2":
            advice += ", or on a board sudo apt install python3-opencv"
        return MissingPackageError(f"{package} is not installed ({reason}): {advice}", name=top)
    where = _locate(top)
    if fault == "numpy":
        return MissingPackageError(
            f"{where} was built for another numpy than {_describe_numpy()} ({reason}):"
            f" {pip} {NUMPY_CURE}{_other_cure(top, pip)}",
            name=top,
        )
    if fault == "library" and top == "cv2":
        return MissingPackageError(
            f"{where} needs a library that this system lacks ({reason}): {_cure_opencv(pip)}",
            name=top,
        )
    if fault == "other build":
        reason = f"built for another Python or machine: {reason}"
    return MissingPackageError(
        f"{where} cannot be imported ({reason}): {pip} install --force-reinstall --no-cache-dir"
        f" {package}",
        name=top,
    )


def explain_missing_video(what: str) -> MissingPackageError:
    """The error for a person where OpenCV was built without `what` cameras and videos need."""
    cv2 = load_opencv()
    pip = f"{shlex.quote(sys.executable)} -m pip"
    return MissingPackageError(
        f"OpenCV {cv2.__version__} ({getattr(cv2, '__file__', None)}) was built without {what}:"
        f" {pip} install --force-reinstall opencv-python-headless, or on a board sudo apt install"
        " --reinstall python3-opencv",
        name="cv2",
    )


def find_numpy_fault(error: ImportError) -> MissingPackageError | None:
    """The error for a person where it is numpy itself that cannot be imported."""
    trace, from_numpy = error.__traceback__, error.name == "numpy"
    while trace is not None:
        from_numpy |= trace.tb_frame.f_globals.get("__name__", "").partition(".")[0] == "numpy"
        trace = trace.tb_next
    return explain_import_error(error, "numpy") if from_numpy else None


def list_opencv_packages() -> list[str]:
    """The packages of pip that brought a cv2."""
    return [name for name in OPENCV_PACKAGES if _has_distribution(name)]


def _has_distribution(name: str) -> bool:
    from importlib import metadata  # it takes long to import

    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _locate(top: str) -> str:
    """`cv2 (/usr/lib/python3/dist-packages/cv2….so)`."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):  # an import that failed half-way
        spec = None
    return f"{top} ({spec.origin})" if spec is not None and spec.origin else top


def _describe_numpy() -> str:
    """`numpy 2.2.6`, without importing it."""
    from importlib import metadata

    try:
        return f"numpy {metadata.version('numpy')}"
    except metadata.PackageNotFoundError:
        return "the numpy here"


def _other_cure(top: str, pip: str) -> str:
    """An OpenCV of pip is built for both numpys."""
    return f", or {pip} install opencv-python-headless" if top == "cv2" else ""


def _cure_opencv(pip: str) -> str:
    names = list_opencv_packages()
    if not names:
        return "sudo apt install --reinstall python3-opencv"
    return (
        f"{pip} uninstall -y {' '.join(names)} && {pip} install opencv-python-headless, which"
        " needs no screen"
    )


def _shorten(text: str) -> str:
    """The part of a message that says why: numpy writes a page around it."""
    original = re.search(r"[Oo]riginal error was: (.*)", text)
    text = original[1] if original else text
    return text if len(text) <= 160 else f"{text[:157]}…"
