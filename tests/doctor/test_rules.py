"""The table of rules: each row has its board state, and rows read as a person expects."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgekit.doctor.checks import check_machine, choose_rules
from edgekit.doctor.rules import RULES, Rule
from tests.doctor.faults import FAULTS, MODEL, PROBE, TFLITE_WORKS
from tests.doctor.machines import Commands, Files, copy_board, look_at

WORKSTATION = {MODEL: "A workstation\0"}
TENSORRT = {"version": "10.13.3", "file": "/usr/lib/python3/dist-packages/tensorrt/__init__.py"}
GOBJECT = {
    "version": "3.42.1",
    "file": "/usr/lib/python3/dist-packages/gi/__init__.py",
    "gstreamer": True,
}

HEALTHY: dict[str, tuple[str, str, Files, Commands]] = {
    "board": ("pi-4", "Raspberry Pi 4 Model B Rev 1.4, 4 × Cortex-A72", {}, {}),
    "system": ("pi-5", "Debian GNU/Linux 13 (trixie), 64 bit, aarch64", {}, {}),
    "Python": ("pi-3", "3.11.2, /home/pi/edgekit/bin/python", {}, {}),
    "edgekit": ("pi-3", ".", {}, {}),
    "JetPack": ("orin-nano", "JetPack 6 (nvidia-jetpack 6.2+b77), L4T R36.4.3", {}, {}),
    "TensorRT": ("thor", "10.13.3.9", {}, {}),
    "TensorRT on a workstation": ("pi-4", "10.13.3", WORKSTATION, {f"{PROBE} tensorrt": TENSORRT}),
    "TensorRT-RTX": (
        "pi-4", "TensorRT-RTX 1.7.1", WORKSTATION,
        {f"{PROBE} tensorrt-rtx": {"version": "1.7.1", "file": "/x"}},
    ),
    "CUDA": (
        "thor", "CUDA 13.0.48, NVIDIA Thor, compute capability 11.0, through cuda-python", {}, {},
    ),
    "power mode": ("orin-agx", "MAXN", {}, {}),
    "LiteRT not needed": ("thor", "not installed", {}, {f"{PROBE} ai-edge-litert": None}),
    "LiteRT": ("pi-zero-2-w", "ai-edge-litert 2.1.0", {}, {}),
    "numpy for tflite-runtime": (
        "pi-3", "numpy 1.24.2", {},
        {f"{PROBE} ai-edge-litert": None, f"{PROBE} tflite-runtime": TFLITE_WORKS},
    ),
    "delegate": ("pi-5", "XNNPACK loads", {}, {}),
    "ONNX Runtime": (
        "orin-agx", "1.23.0", {},
        {f"{PROBE} onnxruntime": {"version": "1.23.0", "file": "/x"}},
    ),
    "ONNX Runtime not needed": ("pi-3", "not installed", {}, {}),
    "numpy": ("pi-4", "1.24.2, /usr/lib/python3/dist-packages/numpy/__init__.py", {}, {}),
    "OpenCV": ("orin-nano", "4.8.0, /usr/lib/python3.10/dist-packages/cv2", {}, {}),
    "GStreamer": ("orin-nano", "in OpenCV 4.8.0", {}, {}),
    "GStreamer through PyGObject": (
        "orin-nano", "through PyGObject 3.42.1", {},
        {f"{PROBE} opencv": {"gstreamer": False}, f"{PROBE} gobject": GOBJECT},
    ),
    "picamera2": ("pi-5", "0.3.30", {}, {}),
    "cameras": (
        "pi-5",
        "/dev/video8 (UVC Camera (046d:0825), 640×480), /dev/video0 (ribbon cable:"
        " rp1-cfe-csi2_ch0)",
        {}, {},
    ),
    "in group video": ("pi-3", "pi may open cameras", {}, {}),
    "in group render": ("thor", "jetson may use the GPU", {}, {}),
    "memory": ("pi-zero-2-w", "298 MB free", {}, {}),
    "swap": ("pi-zero-2-w", "25 of 209 MB used", {}, {}),
    "disk": ("pi-3", "23251 MB free on /", {}, {}),
    "temperature": ("orin-agx", "48.6 °C", {}, {}),
    "power supply": ("pi-4", "no under-voltage", {}, {}),
    "no over-current": ("orin-nano", "no over-current", {}, {}),
    "not throttled": ("pi-3", "none since", {}, {}),
    "clock": (
        "thor", "synchronized", {"run/systemd/timesync/synchronized": ""},
        {"timedatectl show --property=NTPSynchronized": None},
    ),
}  # fmt: skip
"""Rule → board, part of what is found, and what differs on the board."""


@pytest.mark.parametrize("key", HEALTHY)
def test_an_ok_row_says_what_it_found(key: str, tmp_path: Path) -> None:
    board, says, files, commands = HEALTHY[key]
    facts = look_at(copy_board(board, tmp_path), files, commands)
    rules = {rule.key: rule for rule in choose_rules(facts)}
    assert key in rules
    (check,) = check_machine(facts, [rules[key]])
    assert (check.status, check.fix) == ("ok", None)
    assert says in check.found
    assert not re.search(r"\bNone\b|\{|\n", check.found), check.found


def test_every_row_has_a_board_state() -> None:
    assert sorted(rule.key for rule in RULES) == sorted([*HEALTHY, *FAULTS])


def test_rows_of_a_name_stand_together() -> None:
    names = [rule.name for rule in RULES]
    changes = [name for before, name in zip(["", *names], names, strict=False) if name != before]
    assert sorted(changes) == sorted(set(names))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.key)
def test_a_row_has_a_fix_unless_it_is_ok(rule: Rule) -> None:
    assert (rule.fix is None) == (rule.status == "ok")
