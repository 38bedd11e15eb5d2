"""The CSI camera's pipeline with GStreamer's test picture in the camera's place, read by the
system's own OpenCV, and by PyGObject."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.environments import skip_or_fail
from tests.packaging.conftest import SYSTEM_PYTHON, Installation

RUN_CSI = Path(__file__).with_name("run_csi.py")
RUN_COMMAND = Path(__file__).with_name("run_csi_command.py")
WAYS = ("opencv", "gobject")
NEEDED = (
    "import cv2, gi; gi.require_version('Gst', '1.0'); gi.require_version('GstApp', '1.0');"
    "from gi.repository import Gst; Gst.init(None);"
    "assert cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER);"
    "assert Gst.ElementFactory.find('videotestsrc')"
)


def camera(pattern: str, size: tuple[int, int] = (320, 240), *more: str) -> str:
    width, height = size
    caps = f"video/x-raw,width={width},height={height},framerate=30/1"
    return f"videotestsrc is-live=true pattern={pattern} {' '.join(more)} ! {caps}"


def need_gstreamer() -> None:
    if subprocess.run([SYSTEM_PYTHON, "-c", NEEDED], capture_output=True).returncode:
        skip_or_fail(
            "the system's Python has no GStreamer for OpenCV and PyGObject: run"
            " `make system-deps` as root, then `make test`"
        )


def read(
    installation: Installation, way: str, head: str, *, frames: int = 3, timeout_s: float = 5
) -> dict[str, Any]:
    need_gstreamer()
    result = installation.run(RUN_CSI, way, head, str(frames), str(timeout_s))
    assert result.stderr == ""
    document: dict[str, Any] = json.loads(result.stdout)
    return document


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("pattern", "bgr"), [("red", [0, 0, 255]), ("green", [0, 255, 0]), ("blue", [255, 0, 0])]
)
def test_colours(system_installation: Installation, way: str, pattern: str, bgr: list[int]) -> None:
    seen = read(system_installation, way, camera(pattern))
    assert seen["error"] is None
    for index, frame in enumerate(seen["frames"]):
        assert frame["shape"] == [240, 320, 3]
        assert frame["first"] == bgr
        assert frame["same"]
        assert frame["index"] == index
    times = [frame["time_s"] for frame in seen["frames"]]
    assert times[0] == 0 and times == sorted(times)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("width", [321, 322, 323])
def test_rows_of_odd_widths_are_not_sheared(
    system_installation: Installation, way: str, width: int
) -> None:
    """Vertical bars: every row is like the first."""
    head = camera("smpte100", (width, 242))
    seen = read(system_installation, way, head, frames=1)
    assert seen["error"] is None
    assert seen["frames"][0]["shape"] == [242, width, 3]
    assert seen["frames"][0]["columns"]


@pytest.mark.parametrize("way", WAYS)
def test_the_end_is_told(system_installation: Installation, way: str) -> None:
    head = camera("red", (320, 240), "num-buffers=3")
    seen = read(system_installation, way, head, frames=100)
    assert 1 <= len(seen["frames"]) <= 3
    assert "csi://0 stopped delivering after" in seen["error"]


@pytest.mark.parametrize("way", WAYS)
def test_a_silent_camera_is_told_in_time(system_installation: Installation, way: str) -> None:
    head = f"{camera('red')} ! valve drop=true"
    seen = read(system_installation, way, head, timeout_s=1)
    assert seen["frames"] == []
    assert "does not start within 1 s" in seen["error"] or "silent for 1 s" in seen["error"]
    assert seen["seconds"] < 8


@pytest.mark.parametrize("way", WAYS)
def test_a_missing_element_is_told(system_installation: Installation, way: str) -> None:
    """As nvarguscamerasrc is missing where NVIDIA's plugins are not installed."""
    seen = read(system_installation, way, "nosuchcamera sensor-id=0 ! video/x-raw ! nosuchconv")
    assert seen["frames"] == []
    message = r"needs the GStreamer element nosuchcamera, nosuchconv, .*nvidia-l4t-gstreamer"
    assert re.search(message, seen["error"])
    assert seen["seconds"] < 4


@pytest.mark.parametrize("way", WAYS)
def test_what_an_element_says_while_frames_flow(
    system_installation: Installation, way: str
) -> None:
    head = f"{camera('red')} ! identity error-after=4"
    seen = read(system_installation, way, head, frames=100)
    assert 1 <= len(seen["frames"]) <= 4
    message = r"pipeline broke \(identity0: Failed after iterations as requested\..*\): check it"
    assert re.search(message, seen["error"])


@pytest.mark.parametrize("way", WAYS)
def test_what_an_element_says_at_the_start(system_installation: Installation, way: str) -> None:
    seen = read(system_installation, way, "filesrc location=/nonexistent")
    assert seen["frames"] == []
    assert re.search(r"cannot start the camera.*: filesrc0: Resource not found", seen["error"])


@pytest.mark.parametrize("way", WAYS)
def test_results_have_standard_output_to_themselves(
    system_installation: Installation, way: str
) -> None:
    """A sink that writes there stands for nvarguscamerasrc, which prints there."""
    need_gstreamer()
    head = f"filesrc location=/proc/version ! fdsink fd=1 {camera('snow')}"
    result = system_installation.run(
        *(RUN_COMMAND, way, head, "run", "--source", "csi://0", "--json", "--frames", "5")
    )
    results = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(results) == 5
    assert "Linux version" in result.stderr


@pytest.mark.parametrize("way", WAYS)
def test_a_command_that_fails_prints_one_line(system_installation: Installation, way: str) -> None:
    """An abandoned pipeline would have GStreamer complain when the program ends."""
    need_gstreamer()
    head = f"{camera('red')} ! valve drop=true"
    with pytest.raises(
        AssertionError, match=r"\Aedgekit: the camera.* within 1\.5 s|silent"
    ) as end:
        system_installation.run(RUN_COMMAND, way, head, "run", "--camera", "csi://0")
    assert "GStreamer-CRITICAL" not in str(end.value)
