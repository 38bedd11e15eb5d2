"""The records of a machine's facts, and what they mean in words.

What a machine does not report is None, "" or "unknown".
"""

from __future__ import annotations

import re
import shlex
from typing import Literal

from edgekit.board.conditions import describe_throttled
from edgekit.board.machine import UNKNOWN
from edgekit.native_libraries import ImportFault, classify_import_error
from edgekit.spec import Record

Kind = Literal["pi", "jetson", "other"]

_RIBBON = ("unicam", "rp1-cfe", "vi-output")
"""Drivers of ribbon-cable cameras, whose /dev/videoN gives raw data that only csi:// can use:
Raspberry Pi 1-4, Pi 5, Jetson."""
_PROCESSORS = ("bcm2835-isp", "bcm2835-codec", "pispbe", "rpi-hevc-dec")
"""Image processors and codecs of a Pi, which count as capturing devices to Video4Linux."""


class Package(Record, frozen=True, kw_only=True):
    """A Python package, as an interpreter of its own imports it. `error`: why it cannot."""

    module: str = ""
    version: str = ""
    file: str | None = None
    gstreamer: bool = False
    lacks: tuple[str, ...] = ()
    """What an OpenCV was built without that cameras and videos need."""
    error: str | None = None

    @property
    def fault(self) -> ImportFault | None:
        """Why it cannot be imported; None where it can."""
        return None if self.error is None else classify_import_error(self.error, self.module)

    @property
    def lacks_text(self) -> str:
        return " and ".join(self.lacks)

    @property
    def works(self) -> bool:
        return self.error is None

    @property
    def missing(self) -> bool:
        """Whether it is not installed, rather than installed and broken."""
        return self.error == f"ModuleNotFoundError: No module named '{self.module}'"

    @property
    def broken(self) -> bool:
        return not self.works and not self.missing

    @property
    def major(self) -> int:
        return int(self.version.partition(".")[0]) if self.version[:1].isdecimal() else 0

    @property
    def from_pip(self) -> bool:
        """Whether it is stored elsewhere than the system's own packages."""
        return self.file is not None and not re.match(r"/usr/lib/python3[^/]*/", self.file)


class Python(Record, frozen=True, kw_only=True):
    """The interpreter that runs edgekit. `isolated`: it does not see the system's packages."""

    version: str = UNKNOWN
    bits: int = 64
    architecture: str = UNKNOWN
    executable: str = "python3"
    isolated: bool = False
    opencv_from_pip: tuple[str, ...] = ()
    error: str | None = None

    @property
    def release(self) -> tuple[int, int] | None:
        """As (3, 11)."""
        match = re.match(r"(\d+)\.(\d+)", self.version)
        return (int(match[1]), int(match[2])) if match else None

    def is_between(self, oldest: tuple[int, int], newest: tuple[int, int]) -> bool:
        return self.release is None or oldest <= self.release <= newest


class Delegate(Record, frozen=True, kw_only=True):
    """The demo's model opened on LiteRT. `error`: why it could not be, or its answers are wrong."""

    runtime: str = ""
    delegate: str | None = None
    error: str | None = None


class GpuFacts(Record, frozen=True, kw_only=True):
    """The first GPU as CUDA describes it."""

    name: str = ""
    capability: tuple[int, int] | None = None
    package: str = ""
    unserved: bool = False
    """TensorRT is there and builds no engines for this GPU."""
    error: str | None = None

    @property
    def no_binding(self) -> bool:
        """Whether a Python package for CUDA is what is missing."""
        return "neither cuda-python nor pycuda" in (self.error or "")


class Camera(Record, frozen=True, kw_only=True):
    """A /dev/videoN. `problem`: why it cannot be asked. `failure`: why it returns no frame. `size`:
    that of the frame it gave; "" when it was not tried."""

    path: str
    name: str
    captures: bool = False
    problem: str | None = None
    failure: str | None = None
    size: str = ""

    @property
    def is_ribbon(self) -> bool:
        return self.name.startswith(_RIBBON)

    @property
    def trouble(self) -> str | None:
        return self.failure or self.problem

    @property
    def is_usable(self) -> bool:
        """Whether it is a camera that OpenCV opens."""
        return self.captures and not self.name.startswith((*_RIBBON, *_PROCESSORS))


class Disk(Record, frozen=True, kw_only=True):
    """The file system with the least free space, of those that edgekit writes to."""

    path: str
    free_bytes: int


class Facts(Record, frozen=True, kw_only=True):
    """A machine as `edgekit.doctor.rules` judges it."""

    kind: Kind
    board: str
    cpu: str
    cores: int
    os: str
    edgekit: str
    python: Python
    numpy: Package
    opencv: Package
    gobject: Package
    picamera2: Package
    litert: Package
    tflite_runtime: Package
    onnxruntime: Package
    tensorrt: Package
    tensorrt_rtx: Package
    hidden: tuple[str, ...]
    """System packages that this virtual environment does not see."""
    delegate: Delegate
    cameras: tuple[Camera, ...]
    missing_elements: tuple[str, ...]
    """NVIDIA's GStreamer elements for a ribbon-cable camera that are not installed."""
    gpu: GpuFacts
    l4t: tuple[int, str] | None
    """As (36, "4.3"); https://docs.nvidia.com/jetson/archives/r36.4/DeveloperGuide/."""
    jetpack_package: str
    cuda: str | None
    power_mode: str | None
    power_modes: dict[str, int]
    over_current_events: int | None
    memory_free_bytes: int | None
    swap_bytes: int
    swap_used_bytes: int
    disk: Disk | None
    temperature_c: float | None
    throttled: int | None
    marks_kept: bool
    """Whether `throttled` also holds what was earlier, since the board started."""
    clock_synchronized: bool | None
    user: str
    groups: tuple[str, ...]
    known_groups: tuple[str, ...]

    @property
    def pip(self) -> str:
        return f"{shlex.quote(self.python.executable)} -m pip"

    @property
    def remake_environment(self) -> str:
        """The command that makes the virtual environment again, with the system's packages."""
        folder = self.python.executable.rpartition("/bin/")[0]
        folder = shlex.quote(folder) if folder else "~/edgekit"
        return (
            f"python3 -m venv --clear --system-site-packages {folder} && {folder}/bin/pip install"
            " edgekit-*.whl"
        )

    @property
    def opencv_pip_names(self) -> str:
        return " ".join(self.python.opencv_from_pip or ("opencv-python-headless",))

    @property
    def opencv_pip_list(self) -> str:
        return " and ".join(self.python.opencv_from_pip)

    @property
    def runtime(self) -> Package:
        """The TFLite runtime that edgekit takes, LiteRT first."""
        return self.litert if self.litert.works else self.tflite_runtime

    @property
    def runtime_name(self) -> str:
        return "ai-edge-litert" if self.litert.works else "tflite-runtime"

    @property
    def delegate_trouble(self) -> str:
        return self.delegate.error or "the built-in demo runs without it"

    @property
    def jetpack_major(self) -> int | None:
        """L4T 28 is JetPack 3, 32 is 4, 34 and 35 are 5, 36 is 6, 38 and 39 are 7."""
        if self.l4t is None:
            return None
        last_releases = ((28, 3), (32, 4), (35, 5), (37, 6))
        return next((major for last, major in last_releases if self.l4t[0] <= last), 7)

    @property
    def jetpack(self) -> str:
        """`JetPack 6 (nvidia-jetpack 6.2+b77), L4T R36.4.3`."""
        package = f" (nvidia-jetpack {self.jetpack_package})" if self.jetpack_package else ""
        release, revision = self.l4t or (0, "")
        return f"JetPack {self.jetpack_major}{package}, L4T R{release}.{revision}"

    @property
    def cuda_name(self) -> str:
        return f"CUDA {self.cuda}" if self.cuda else "no CUDA toolkit"

    @property
    def highest_mode(self) -> str | None:
        """The power mode with the highest limits: MAXN_SUPER, MAXN, else the most watts."""
        return max(self.power_modes, key=_rank_mode, default=None)

    @property
    def highest_mode_number(self) -> int | None:
        return self.power_modes.get(self.highest_mode or "")

    @property
    def memory_free_mb(self) -> int | None:
        """MB are 10⁶ bytes, here and below."""
        return None if self.memory_free_bytes is None else self.memory_free_bytes // 1_000_000

    @property
    def swap_mb(self) -> int:
        return self.swap_bytes // 1_000_000

    @property
    def swap_used_mb(self) -> int:
        return self.swap_used_bytes // 1_000_000

    @property
    def disk_free_mb(self) -> int | None:
        return None if self.disk is None else self.disk.free_bytes // 1_000_000

    @property
    def throttled_text(self) -> str:
        return "" if self.throttled is None else describe_throttled(self.throttled)

    @property
    def marked_span(self) -> str:
        return "since the board started" if self.marks_kept else "in the last seconds"

    def throttled_bits(self, *bits: int) -> bool:
        """Whether one of these bits of `vcgencmd get_throttled` is on."""
        return self.throttled is not None and any(self.throttled >> bit & 1 for bit in bits)

    def lacks_group(self, name: str) -> bool:
        """Whether the system has the group and the user, who is not root, is not in it."""
        known = self.user not in ("", "root") and name in self.known_groups
        return known and name not in self.groups

    @property
    def ribbon_cameras(self) -> tuple[Camera, ...]:
        return tuple(camera for camera in self.cameras if camera.is_ribbon and camera.captures)

    @property
    def usable_cameras(self) -> tuple[Camera, ...]:
        return tuple(camera for camera in self.cameras if camera.is_usable)

    @property
    def failing_camera(self) -> Camera | None:
        """The first one that cannot be asked, or opens and returns no frame."""
        return next((camera for camera in self.cameras if camera.trouble), None)

    @property
    def untried_camera(self) -> Camera | None:
        """The first one that was not opened because OpenCV does not work."""
        return next((camera for camera in self.usable_cameras if not camera.size), None)

    @property
    def forbidden_camera(self) -> Camera | None:
        """The first /dev/videoN that this user may not open."""
        return next(
            (camera for camera in self.cameras if camera.problem == "Permission denied"), None
        )

    @property
    def camera_names(self) -> str:
        seen = [f"{camera.path} ({camera.name}, {camera.size})" for camera in self.usable_cameras]
        seen += [f"{camera.path} (ribbon cable: {camera.name})" for camera in self.ribbon_cameras]
        return ", ".join(seen)


def _rank_mode(name: str) -> tuple[int, int]:
    watts = re.search(r"(\d+)W", name)
    return (name.startswith("MAXN") + name.startswith("MAXN_SUPER"), int(watts[1]) if watts else 0)
