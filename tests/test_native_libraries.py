"""A library that cannot be used here is one line with the cure, whatever it prints itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.errors import MissingPackageError
from edgekit.native_libraries import classify_import_error, load_library, load_opencv
from tests.environments import REPOSITORY


@pytest.mark.parametrize(
    ("text", "module", "fault"),
    [
        ("numpy.core.multiarray failed to import", "cv2", "numpy"),
        ("AttributeError: _ARRAY_API not found", "cv2", "numpy"),
        ("numpy.dtype size changed, may indicate binary incompatibility.", "cv2", "numpy"),
        ("module compiled against ABI version 0x1000009 but this is 0x2000000", "cv2", "numpy"),
        ("libGL.so.1: cannot open shared object file: No such file", "cv2", "library"),
        ("libgthread-2.0.so.0: cannot open shared object file", "cv2", "library"),
        ("libpython3.9.so.1.0: cannot open shared object file", "tflite_runtime", "other build"),
        ("/x/cv2.abi3.so: invalid ELF header", "cv2", "other build"),
        ("/x/_pywrap.so: wrong ELF class: ELFCLASS32", "ai_edge_litert", "other build"),
        ("/lib/libc.so.6: version `GLIBC_2.38' not found (required by x)", "cv2", "other build"),
        ("/x/_pywrap.so: undefined symbol: _PyThreadState_Current", "cv2", "other build"),
        ("No module named 'ai_edge_litert._pywrap_x'", "ai_edge_litert.interpreter", "other build"),
        ("No module named 'cv2.cv2'", "cv2", "other build"),
        ("No module named 'cv2'", "cv2", "missing"),
        ("No module named 'ai_edge_litert'", "ai_edge_litert.interpreter", "missing"),
        ("recursion is detected during loading of cv2 binary extensions", "cv2", "other"),
    ],
)
def test_why_an_import_fails(text: str, module: str, fault: str) -> None:
    assert classify_import_error(text, module) == fault


def test_what_works_is_returned() -> None:
    import cv2

    assert load_opencv() is cv2


def test_a_missing_package_is_named_with_its_command() -> None:
    with pytest.raises(MissingPackageError, match=r"tflite-runtime is not installed .*-m pip ins"):
        load_library("tflite_runtime.interpreter")


def run_with(folder: Path, package: str, source: str, *args: str) -> tuple[int, str, str]:
    """Run edgekit where `package` is what `source` says."""
    (folder / f"{package}.py").write_text(source)
    result = subprocess.run(
        [sys.executable, "-m", "edgekit", *args],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}:{REPOSITORY}"},
    )
    return result.returncode, result.stdout, result.stderr


PRINTS = (
    "import sys; sys.stderr.write('A module that was compiled using NumPy 1.x cannot\\n' * 9)\n"
)
CASES = {
    "numpy": (
        "cv2",
        PRINTS + "raise ImportError('numpy.core.multiarray failed to import')",
        r"cv2 \(.*cv2\.py\) was built for another numpy than numpy 2\..*-m pip install 'numpy<2'",
    ),
    "libGL": (
        "cv2",
        "raise ImportError('libGL.so.1: cannot open shared object file: No such file')",
        r"needs a library that this system lacks \(libGL\.so\.1: .*pip uninstall -y opencv-python-h"
        r".* && .*pip install opencv-python-headless",
    ),
    "another Python": (
        "cv2",
        "raise ImportError('/x/cv2.so: undefined symbol: _PyThreadState_Current')",
        r"built for another Python or machine: .*--force-reinstall --no-cache-dir opencv-python-h",
    ),
    "numpy itself": (
        "numpy",
        "def multiarray():\n    raise ImportError('IMPORTANT: PLEASE READ THIS\\n\\n * The Python"
        " version is\\nOriginal error was: libopenblas.so.0: cannot open shared object file')\n"
        "multiarray()",
        r"numpy \(.*numpy\.py\) cannot be imported \(libopenblas\.so\.0: cannot open.*numpy",
    ),
    "a crash while loading": (
        "cv2",
        "raise AttributeError(\"partially initialized module 'cv2' has no attribute 'gapi'\")",
        r"cannot be imported \(partially initialized module 'cv2' has no attribute 'gapi'\): ",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_run_says_in_one_line_why_a_library_cannot_be_used(case: str, tmp_path: Path) -> None:
    package, source, words = CASES[case]
    code, output, error = run_with(tmp_path, package, source, "run", "--source", "test://")
    assert (code, output) == (1, ""), error
    assert error.count("\n") == 1, error
    assert error.startswith("edgekit: ")
    assert re.search(words, error), error


def test_every_import_of_opencv_goes_through_one_place() -> None:
    """Else a broken one ends in a traceback; the doctor's probes report it themselves."""
    own = {"native_libraries.py", "probes.py"}
    found = [
        path.name
        for path in (REPOSITORY / "edgekit").rglob("*.py")
        if re.search(r"^\s*(import|from) cv2\b", path.read_text(), re.MULTILINE)
    ]
    assert set(found) - own == set()


WITHOUT = {
    "no video at all": ("del cv2.VideoCapture", r"was built without video: .*-m pip install"),
    "no FFmpeg": (
        "cv2.videoio_registry.getBackends = lambda: []",
        r"was built without FFmpeg, for videos: .*opencv-python-headless, or on a board sudo apt",
    ),
}


@pytest.mark.parametrize("case", WITHOUT)
def test_an_opencv_without_video_is_named(case: str, tmp_path: Path) -> None:
    change, words = WITHOUT[case]
    (tmp_path / "film.mp4").write_bytes(bytes(1000))
    program = (
        f"import sys, cv2; {change};"
        " sys.argv = ['edgekit', 'run', '--source', 'film.mp4'];"
        " from edgekit.cli import main; main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert (result.returncode, result.stdout) == (1, ""), result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert re.search(words, result.stderr), result.stderr
