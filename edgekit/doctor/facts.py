"""Gathers the facts of a machine, from files below a root and from the answers of programs.

Nothing here judges, and nothing raises: what a machine does not report is left empty.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec

from edgekit._version import __version__
from edgekit.board.conditions import parse_throttled
from edgekit.board.jetson_sensors import parse_power_mode
from edgekit.board.machine import (
    ROOT,
    UNKNOWN,
    count_cores,
    read_board,
    read_cpu,
    read_memory,
    read_text,
)
from edgekit.board.sensors import Sensors
from edgekit.doctor.commands import PROBE, ProgramResult, RunProgram, explain, run_command
from edgekit.doctor.records import Camera, Delegate, Disk, Facts, GpuFacts, Kind, Package, Python
from edgekit.spec import Record

_AT_ONCE = 2
"""Programs that run at the same time: each may hold 100 MB, and a Zero 2 W has 512."""
_TOOLS: dict[str, tuple[str, ...]] = {
    "throttled": ("vcgencmd", "get_throttled"),
    "power mode": ("nvpmodel", "-q"),
    "jetpack": ("dpkg-query", "-W", "-f=${Version}", "nvidia-jetpack"),
    "clock": ("timedatectl", "show", "--property=NTPSynchronized"),
    "user": ("id", "-un"),
    "groups": ("id", "-nG"),
    "disk": ("df", "-Pk", "/", "."),
}
_MODULES = {
    "numpy": "numpy",
    "opencv": "cv2",
    "gobject": "gi",
    "picamera2": "picamera2",
    "ai-edge-litert": "ai_edge_litert",
    "tflite-runtime": "tflite_runtime",
    "onnxruntime": "onnxruntime",
    "tensorrt": "tensorrt",
    "tensorrt-rtx": "tensorrt_rtx",
}
"""Probe → the module it imports."""
_QUESTIONS = {
    **_TOOLS,
    **{
        name: (PROBE, name)
        for name in (*_MODULES, "python", "delegate", "gpu", "elements", "devices")
    },
}


class _Devices(Record, frozen=True, kw_only=True):
    devices: tuple[Camera, ...] = ()
    error: str | None = None


class _Elements(Record, frozen=True, kw_only=True):
    missing: tuple[str, ...] = ()
    error: str | None = None


class _Frame(Record, frozen=True, kw_only=True):
    width: int = 0
    height: int = 0
    error: str | None = None


def gather_facts(root: Path = ROOT, run: RunProgram = run_command) -> Facts:
    """Describe the machine whose /proc, /sys and /etc are below `root`; `run` asks programs."""
    answers = _ask(run)
    python = _read_probe(answers["python"], Python)
    packages = _read_packages(answers)
    board = read_board(root)
    snapshot = Sensors(root).sample()
    memory = read_memory(root)
    marks = parse_throttled(answers["throttled"].out)
    swap_bytes = memory.get("SwapTotal", 0)
    return Facts(
        kind=_classify(board, root),
        board=board,
        cpu=read_cpu(root),
        cores=count_cores(root),
        os=_read_os(root),
        edgekit=__version__,
        python=python,
        numpy=packages["numpy"],
        opencv=packages["opencv"],
        gobject=packages["gobject"],
        picamera2=packages["picamera2"],
        litert=packages["ai-edge-litert"],
        tflite_runtime=packages["tflite-runtime"],
        onnxruntime=packages["onnxruntime"],
        tensorrt=packages["tensorrt"],
        tensorrt_rtx=packages["tensorrt-rtx"],
        hidden=_find_hidden(root) if python.isolated else (),
        delegate=_read_probe(answers["delegate"], Delegate),
        cameras=_try_cameras(answers["devices"], packages["opencv"], run),
        missing_elements=_read_probe(answers["elements"], _Elements).missing,
        gpu=_read_probe(answers["gpu"], GpuFacts),
        l4t=_read_l4t(root),
        jetpack_package=answers["jetpack"].out.strip(),
        cuda=_read_cuda(root),
        power_mode=parse_power_mode(answers["power mode"].out),
        power_modes=_read_power_modes(root),
        over_current_events=snapshot.over_current_events,
        memory_free_bytes=snapshot.memory_available_bytes,
        swap_bytes=swap_bytes,
        swap_used_bytes=swap_bytes - memory.get("SwapFree", swap_bytes),
        disk=_parse_disk(answers["disk"].out),
        temperature_c=snapshot.temperature_c,
        # The kernel's file forgets what was earlier: its driver asks every 2 s and clears the marks
        # (https://github.com/raspberrypi/linux, drivers/hwmon/raspberrypi-hwmon.c).
        throttled=snapshot.throttled if marks is None else marks,
        marks_kept=marks is not None,
        clock_synchronized=_read_clock(root, answers["clock"].out),
        user=answers["user"].out.strip(),
        groups=tuple(answers["groups"].out.split()),
        known_groups=tuple(re.findall(r"^([^:\n]+):", _text(root / "etc/group"), re.MULTILINE)),
    )


def _ask(run: RunProgram) -> dict[str, ProgramResult]:
    """Run every program and probe, a few at a time."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(_QUESTIONS, pool.map(run, _QUESTIONS.values()), strict=True))


def _read_packages(answers: Mapping[str, ProgramResult]) -> dict[str, Package]:
    return {
        name: msgspec.structs.replace(_read_probe(answers[name], Package), module=module)
        for name, module in _MODULES.items()
    }


T = TypeVar("T", Package, Python, Delegate, GpuFacts, _Devices, _Elements, _Frame)


def _read_probe(answer: ProgramResult, kind: type[T]) -> T:
    """What a probe printed on its last line; a record with only `error` when it failed."""
    if answer.code != 0:
        return kind(error=explain(answer))
    try:
        return msgspec.json.decode(answer.out.strip().rpartition("\n")[2], type=kind)
    except msgspec.MsgspecError:
        return kind(error=f"an answer that is not understood: {answer.out.strip()[-80:]!r}")


def _try_cameras(answer: ProgramResult, opencv: Package, run: RunProgram) -> tuple[Camera, ...]:
    """The video devices; those that OpenCV can open are opened, one after the other."""
    return tuple(
        _try_camera(camera, run) if camera.is_usable and opencv.works else camera
        for camera in _read_probe(answer, _Devices).devices
    )


def _try_camera(camera: Camera, run: RunProgram) -> Camera:
    frame = _read_probe(run((PROBE, "camera", camera.path)), _Frame)
    size = f"{frame.width}×{frame.height}"
    return msgspec.structs.replace(camera, failure=frame.error, size=size)


def _text(path: Path) -> str:
    return read_text(path) or ""


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a folder that this user may not enter
        return False


def _classify(board: str, root: Path) -> Kind:
    if board.startswith("Raspberry Pi"):
        return "pi"
    is_jetson = "Jetson" in board or _exists(root / "etc/nv_tegra_release")
    return "jetson" if is_jetson else "other"


def _read_os(root: Path) -> str:
    match = re.search(r'^PRETTY_NAME="?([^"\n]*)', _text(root / "etc/os-release"), re.MULTILINE)
    return match[1] if match else UNKNOWN


def _find_hidden(root: Path) -> tuple[str, ...]:
    """Which packages the system's own Python has, of those that boards bring."""
    folders = [*(root / "usr/lib").glob("python3*/dist-packages")]
    names = ("cv2", "picamera2", "tensorrt")
    return tuple(name for name in names if any(any(f.glob(f"{name}*")) for f in folders))


def _read_l4t(root: Path) -> tuple[int, str] | None:
    """`# R36 (release), REVISION: 4.3, GCID: …` → (36, "4.3")."""
    match = re.match(
        r"# R(\d+) \(release\), REVISION: ([\d.]+)", _text(root / "etc/nv_tegra_release")
    )
    return (int(match[1]), match[2]) if match else None


def _read_cuda(root: Path) -> str | None:
    """The CUDA toolkit's version, from the file that it brings."""
    match = re.search(
        r'"cuda"\s*:\s*\{[^}]*"version"\s*:\s*"([\d.]+)"',
        _text(root / "usr/local/cuda/version.json"),
    )
    return match[1] if match else None


def _read_power_modes(root: Path) -> dict[str, int]:
    """`< POWER_MODEL ID=0 NAME=15W >` → {"15W": 0}."""
    modes = re.findall(
        r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)", _text(root / "etc/nvpmodel.conf")
    )
    return {name: int(number) for number, name in modes}


def _parse_disk(answer: str) -> Disk | None:
    """Of `df -Pk`'s lines, the one with the least free space (1024-byte blocks)."""
    rows = re.findall(r"^\S.*?\s+\d+\s+\d+\s+(-?\d+)\s+\d+%\s+(/.*)$", answer, re.MULTILINE)
    disks = [Disk(path=path, free_bytes=int(free) * 1024) for free, path in rows]
    return min(disks, key=lambda disk: disk.free_bytes, default=None)


def _read_clock(root: Path, answer: str) -> bool | None:
    """By timedatectl, else by the file that systemd-timesyncd leaves once it has the time."""
    reported = re.search(r"^NTPSynchronized=(yes|no)$", answer, re.MULTILINE)
    if reported:
        return reported[1] == "yes"
    return _exists(root / "run/systemd/timesync/synchronized") or None
