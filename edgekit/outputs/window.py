"""`--show`: each frame in a window, with its answer written over it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

from edgekit.arrays import BgrFrame
from edgekit.errors import SettingsError
from edgekit.native_libraries import load_opencv
from edgekit.runtime.classify_frame import Result
from edgekit.spec import NO_LABEL

cv2 = load_opencv()

_TITLE = "edgekit"
_ESCAPE = 27
_LINE = 32
"""The height of a line of text in a frame of 720 pixels."""
_PROBE = f"import cv2; cv2.namedWindow({_TITLE!r}); cv2.waitKey(1)"


def check_window() -> None:
    """Raise SettingsError, saying what is missing, when no window can be opened.

    OpenCV's window toolkits abort the whole process where they cannot connect, so another process
    tries first.
    """
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise SettingsError(
            "--show needs a screen, but neither DISPLAY nor WAYLAND_DISPLAY is set: run it on the"
            " board's desktop, over ssh -X, or without --show"
        )
    if "GUI: NONE" in " ".join(cv2.getBuildInformation().split()):
        raise SettingsError(
            f"--show needs an OpenCV that can open windows, this one ({cv2.__version__}) was built"
            " without: pip install opencv-python in place of opencv-python-headless, or use the"
            " system's python3-opencv"
        )
    try:
        probe = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, timeout=20)
    except subprocess.TimeoutExpired:
        failed = "did not answer"
    else:
        if not probe.returncode:
            return
        failed = f"failed with exit status {probe.returncode}"
    raise SettingsError(
        f"--show cannot open a window: a trial on display {os.environ.get('DISPLAY', 'Wayland')}"
        f" {failed}: check DISPLAY and xhost, or run without --show"
    )


class Window:
    """A sink that shows each result's frame; q or Escape sets `stop`. Used by the main thread."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL)

    def write(self, result: Result) -> None:
        if result.pixels is None:
            return
        cv2.imshow(_TITLE, draw_result(result.pixels, result))
        if cv2.waitKey(1) & 0xFF in (ord("q"), _ESCAPE):
            self._stop.set()

    def close(self) -> None:
        cv2.destroyAllWindows()


def draw_result(pixels: BgrFrame, result: Result) -> BgrFrame:
    """A copy of `(H, W, 3) uint8` BGR pixels with the answer written over it, a line a label."""
    drawn: BgrFrame = pixels.copy()
    scale = max(0.5, drawn.shape[0] / 720)
    room = max(1, int(drawn.shape[0] / (_LINE * scale)))
    for number, text in enumerate(spell_lines(result, room), start=1):
        place = (round(12 * scale), round(_LINE * scale * number))
        for colour, width in (((0, 0, 0), 4), ((255, 255, 255), 1)):
            thickness = max(1, round(width * scale))
            cv2.putText(
                drawn, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness, cv2.LINE_AA
            )
    return drawn


def spell_lines(result: Result, most: int) -> list[str]:
    """The answer in at most so many lines: the labels with the highest scores where there are more,
    and how many are left out. The age of the answer ends the first line."""
    answer = result.prediction.answer
    if len(answer) > most:
        answer = tuple(sorted(answer, key=lambda place: -place.score)[: max(1, most - 1)])
    lines = [f"{place.label} {place.score:.0%}" for place in answer] or [NO_LABEL]
    left_out = len(result.prediction.answer) - len(answer)
    if left_out:
        lines = [*lines, f"and {left_out} more"][:most]
    lines[0] += f" {result.age_ns / 1e6:.0f} ms"
    # OpenCV's letters are ASCII; it would draw ?? for each other character.
    return [line.encode("ascii", "replace").decode() for line in lines]
