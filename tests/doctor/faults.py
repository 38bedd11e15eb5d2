"""One planted fault for every rule that is not `ok`: what is changed on which recorded board, and
what doctor must say."""

from __future__ import annotations

from typing import NamedTuple

from tests.doctor.machines import Commands, Files, crashes, fails

PROBE = "edgekit-probe"
PYTHON, NUMPY, OPENCV = f"{PROBE} python", f"{PROBE} numpy", f"{PROBE} opencv"
LITERT, TFLITE, DELEGATE = f"{PROBE} ai-edge-litert", f"{PROBE} tflite-runtime", f"{PROBE} delegate"
PICAMERA2, TENSORRT, GPU = f"{PROBE} picamera2", f"{PROBE} tensorrt", f"{PROBE} gpu"
DEVICES, TEMPERATURE = f"{PROBE} devices", "sys/class/thermal/thermal_zone0/temp"
MODEL, RELEASE, CUDA = (
    "proc/device-tree/model",
    "etc/nv_tegra_release",
    "usr/local/cuda/version.json",
)
DISK, THROTTLED = "df -Pk / .", "vcgencmd get_throttled"
CLOCK = "timedatectl show --property=NTPSynchronized"
SITE = "/home/pi/edgekit/lib/python3.11/site-packages"
SITE_JETSON = "/home/jetson/edgekit/lib/python3.10/site-packages"

NUMPY_2 = {"version": "2.2.6", "file": f"{SITE}/numpy/__init__.py"}
TFLITE_WORKS = {"version": "2.14.0", "file": f"{SITE}/tflite_runtime/interpreter.py"}
DTYPE_SIZE = (
    "ValueError: numpy.dtype size changed, may indicate binary incompatibility. Expected 96 from C"
    " header, got 88 from PyObject"
)
NO_BLAS = "ImportError: libopenblas.so.0: cannot open shared object file"
NUMPY_1_API = "ImportError: numpy.core.multiarray failed to import"
NO_BINDING = (
    "neither cuda-python nor pycuda can be imported, and TensorRT needs one of them for the GPU's"
    " memory (No module named 'pycuda'): pip install cuda-python"
)
NO_GPU = "no NVIDIA GPU can be used here (cudaErrorInsufficientDriver): expected a Jetson"
PIP_OPENCV = {"version": "4.12.0", "file": f"{SITE}/cv2/__init__.py", "gstreamer": False}
ISOLATED = {"isolated": True}
SYSTEM_CV2 = "usr/lib/python3/dist-packages/cv2.cpython-311-aarch64-linux-gnu.so"
USB = {"path": "/dev/video0", "name": "UVC Camera", "captures": True, "problem": None}


def _release(number: int, revision: str) -> str:
    return f"# R{number} (release), REVISION: {revision}, GCID: 1, BOARD: t186ref, EABI: aarch64\n"


def _memory(available_kb: int, swap_kb: int = 204796, swap_free_kb: int = 204796) -> str:
    return (
        f"MemTotal: 929760 kB\nMemAvailable: {available_kb} kB\n"
        f"SwapTotal: {swap_kb} kB\nSwapFree: {swap_free_kb} kB\n"
    )


def _disk(free_kb: int) -> str:
    return (
        "Filesystem 1024-blocks Used Available Capacity Mounted on\n"
        f"/dev/mmcblk0p2 30513876 30000000 {free_kb} 99% /\n"
        "/dev/sda1 30513876 6231044 22706444 22% /media/disk\n"
    )


class Fault(NamedTuple):
    """`says` is part of what is found, `fix` of the command that fixes it."""

    board: str
    check: str
    status: str
    says: str
    fix: str
    files: Files = {}  # noqa: RUF012
    commands: Commands = {}  # noqa: RUF012


FAULTS = {
    "GPU without engines": Fault(
        "pi-4", "TensorRT", "warn", "1.7.1 has no engines for NVIDIA H200", "pip install tensorrt",
        {MODEL: "NVIDIA workstation\0"},
        {
            f"{PROBE} tensorrt-rtx": {"version": "1.7.1", "file": "/x"},
            GPU: {"name": "NVIDIA H200", "capability": [9, 0], "unserved": True},
        },
    ),
    "board without a runtime": Fault(
        "pi-zero-2-w", "board", "fail", "ARMv6", "Zero 2 W",
        {MODEL: "Raspberry Pi Zero W Rev 1.1\0"},
        {PYTHON: {"bits": 32, "architecture": "armv6l"}},
    ),
    "32 bit without a runtime": Fault(
        "pi-5", "system", "fail", "trixie), 32 bit, Python 3.13.5", "64-bit system",
        commands={PYTHON: {"bits": 32}, LITERT: None},
    ),
    "32 bit": Fault(
        "pi-3", "system", "warn", "bookworm), 32 bit", "64-bit system",
        commands={
            PYTHON: {"bits": 32, "architecture": "armv7l"},
            LITERT: None, TFLITE: TFLITE_WORKS,
            DELEGATE: {"runtime": "tflite-runtime 2.14.0", "delegate": None},
        },
    ),
    "Python too old": Fault(
        "pi-4", "Python", "fail", "3.9.2: expected 3.10", "Bookworm",
        {"etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 11 (bullseye)"\n'},
        {PYTHON: {"version": "3.9.2"}},
    ),
    "Python too new": Fault(
        "pi-5", "Python", "warn", "3.15.0", "python3.13 -m venv",
        commands={PYTHON: {"version": "3.15.0"}},
    ),
    "isolated environment": Fault(
        "pi-4", "Python", "warn", "without the system's packages",
        "python3 -m venv --clear --system-site-packages /home/pi/edgekit &&",
        commands={PYTHON: ISOLATED},
    ),
    "JetPack 4 on a Xavier": Fault(
        "orin-agx", "JetPack", "fail", "JetPack 4", "flash JetPack 5",
        {MODEL: "NVIDIA Jetson AGX Xavier Developer Kit\0", RELEASE: _release(32, "7.1")},
    ),
    "JetPack 3": Fault(
        "orin-nano", "JetPack", "fail", "L4T R28.2.1: Python 2", "flash JetPack 4.6",
        {MODEL: "NVIDIA Jetson TX2 Developer Kit\0", RELEASE: _release(28, "2.1")},
        {PYTHON: {"version": "3.5.2"}},
    ),
    "JetPack 4": Fault(
        "orin-nano", "JetPack", "fail", "TensorRT 8.2", "opset 13",
        {MODEL: "NVIDIA Jetson Nano Developer Kit\0", RELEASE: _release(32, "7.1")},
        {PYTHON: {"version": "3.6.9"}},
    ),
    "JetPack 5 on a Xavier": Fault(
        "orin-agx", "JetPack", "fail", "the board's last: Python 3.8", "trtexec --onnx=model.onnx",
        {MODEL: "NVIDIA Jetson Xavier NX Developer Kit\0", RELEASE: _release(35, "4.1")},
    ),
    "JetPack 5": Fault(
        "orin-agx", "JetPack", "fail", "L4T R35.4.1: Python 3.8 and TensorRT 8.5",
        "flash JetPack 6",
        {RELEASE: _release(35, "4.1")}, {PYTHON: {"version": "3.8.10"}},
    ),
    "JetPack unknown": Fault(
        "thor", "JetPack", "warn", "container", "/etc/nv_tegra_release", {RELEASE: None},
    ),
    "TensorRT hidden": Fault(
        "orin-nano", "TensorRT", "fail", "virtual environment does not see it",
        "--system-site-packages /home/jetson/edgekit",
        {"usr/lib/python3.10/dist-packages/tensorrt/__init__.py": ""},
        {PYTHON: ISOLATED, TENSORRT: None},
    ),
    "TensorRT missing": Fault(
        "orin-nano", "TensorRT", "fail", "not installed",
        "sudo apt install nvidia-jetpack python3-libnvinfer",
        commands={TENSORRT: None},
    ),
    "TensorRT broken": Fault(
        "thor", "TensorRT", "fail", "libnvinfer.so.10: cannot open", "--reinstall nvidia-jetpack",
        commands={TENSORRT: fails("ImportError: libnvinfer.so.10: cannot open shared object file")},
    ),
    "CUDA missing": Fault(
        "orin-agx", "CUDA", "fail", "no CUDA toolkit", "sudo apt install nvidia-jetpack",
        {CUDA: None}, {GPU: fails("ImportError: libcudart.so.12: cannot open shared object file")},
    ),
    "CUDA without Python, JetPack 7": Fault(
        "thor", "CUDA", "fail", "CUDA 13.0.48, but neither cuda-python", "'cuda-python>=13,<14'",
        commands={GPU: {"error": NO_BINDING}},
    ),
    "CUDA without Python": Fault(
        "orin-nano", "CUDA", "fail", "CUDA 12.6.68, but neither cuda-python",
        "/home/jetson/edgekit/bin/python -m pip install 'cuda-python>=12.2,<13'",
        commands={GPU: {"error": NO_BINDING}},
    ),
    "GPU forbidden": Fault(
        "orin-nano", "CUDA", "fail", "jetson is not in both groups",
        "sudo usermod -aG video,render jetson",
        commands={GPU: {"error": NO_GPU}, "id -nG": "jetson sudo video\n"},
    ),
    "GPU unusable": Fault(
        "orin-nano", "CUDA", "fail", "cudaErrorInsufficientDriver", "'cuda-python>=12.2,<12.7'",
        commands={GPU: {"error": NO_GPU}},
    ),
    "power mode unknown": Fault(
        "orin-agx", "power mode", "warn", "nvpmodel does not report it", "sudo nvpmodel -q",
        commands={"nvpmodel -q": None},
    ),
    "power mode low": Fault(
        "orin-nano", "power mode", "warn", "15W, and the board has MAXN_SUPER",
        "sudo nvpmodel -m 2",
        commands={"nvpmodel -q": "NV Power Mode: 15W\n0\n"},
    ),
    "LiteRT missing on 32 bit": Fault(
        "pi-3", "LiteRT", "fail", "neither ai-edge-litert nor tflite-runtime",
        "tflite-runtime==2.14.0 'numpy<2'",
        commands={PYTHON: {"bits": 32, "architecture": "armv7l"}, LITERT: None},
    ),
    "LiteRT missing": Fault(
        "pi-4", "LiteRT", "fail", "neither ai-edge-litert nor tflite-runtime",
        "/home/pi/edgekit/bin/python -m pip install ai-edge-litert",
        commands={LITERT: None},
    ),
    "LiteRT broken on a Jetson": Fault(
        "orin-agx", "LiteRT", "warn", "a Jetson runs TensorRT", "--force-reinstall",
        commands={LITERT: crashes(4), TFLITE: fails("ImportError: libpython3.9.so.1.0")},
    ),
    "LiteRT of another build": Fault(
        "pi-4", "LiteRT", "fail", "built for another Python or machine", "--no-cache-dir",
        commands={
            LITERT: fails(
                "ModuleNotFoundError: No module named"
                " 'ai_edge_litert._pywrap_tensorflow_interpreter_wrapper'"
            )
        },
    ),
    "LiteRT broken": Fault(
        "pi-zero-2-w", "LiteRT", "fail", "crashed with SIGILL", "--no-deps ai-edge-litert",
        commands={LITERT: crashes(4)},
    ),
    "tflite-runtime broken": Fault(
        "pi-3", "LiteRT", "fail", "numpy.core.multiarray failed", "tflite-runtime==2.14.0",
        commands={LITERT: None, TFLITE: fails(NUMPY_1_API)},
    ),
    "tflite-runtime with numpy 2": Fault(
        "pi-3", "numpy for tflite-runtime", "fail", "numpy 2.2.6", "pip install 'numpy<2'",
        commands={LITERT: None, TFLITE: fails(NUMPY_1_API), NUMPY: NUMPY_2},
    ),
    "delegate on a Jetson": Fault(
        "orin-nano", "delegate", "warn", "no XNNPACK", "ai-edge-litert",
        commands={DELEGATE: {"delegate": None}},
    ),
    "delegate without OpenCV": Fault(
        "pi-4", "delegate", "fail", "without an OpenCV that works", "fix OpenCV, then",
        commands={
            NUMPY: NUMPY_2, OPENCV: fails(NUMPY_1_API), DELEGATE: fails(NUMPY_1_API),
        },
    ),
    "model does not open": Fault(
        "pi-4", "delegate", "fail", "gives wrong answers here", "--force-reinstall ai-edge-litert",
        commands={DELEGATE: {"error": "the model gives wrong answers here"}},
    ),
    "delegate missing on 32 bit": Fault(
        "pi-3", "delegate", "warn", "no XNNPACK on 32 bit", "64-bit system",
        commands={
            PYTHON: {"bits": 32, "architecture": "armv7l"},
            LITERT: None, TFLITE: TFLITE_WORKS,
            DELEGATE: {"runtime": "tflite-runtime 2.14.0", "delegate": None},
        },
    ),
    "delegate missing": Fault(
        "pi-5", "delegate", "fail", "without XNNPACK", "--force-reinstall ai-edge-litert",
        commands={DELEGATE: {"delegate": None}},
    ),
    "ONNX Runtime broken": Fault(
        "orin-agx", "ONNX Runtime", "warn", "GLIBC_2.38", "--force-reinstall onnxruntime",
        commands={f"{PROBE} onnxruntime": fails("ImportError: version `GLIBC_2.38' not found")},
    ),
    "numpy missing": Fault(
        "orin-nano", "numpy", "fail", "not installed", "sudo apt install -y python3-numpy",
        commands={NUMPY: None},
    ),
    "numpy missing on a workstation": Fault(
        "pi-4", "numpy", "fail", "not installed", "pip install numpy",
        {MODEL: "A workstation\0"}, {NUMPY: None},
    ),
    "numpy broken": Fault(
        "pi-4", "numpy", "fail", "libopenblas.so.0", "--reinstall -y python3-numpy",
        commands={NUMPY: fails(NO_BLAS)},
    ),
    "numpy broken on a workstation": Fault(
        "pi-4", "numpy", "fail", "libopenblas.so.0", "--force-reinstall numpy",
        {MODEL: "A workstation\0"}, {NUMPY: fails(NO_BLAS)},
    ),
    "LiteRT without numpy": Fault(
        "pi-3", "LiteRT", "fail", "without a numpy that works", "fix numpy",
        commands={NUMPY: fails(NO_BLAS), LITERT: fails(NO_BLAS)},
    ),
    "ONNX Runtime without numpy": Fault(
        "thor", "ONNX Runtime", "warn", "without a numpy that works", "fix numpy",
        commands={NUMPY: None, f"{PROBE} onnxruntime": fails("ImportError: import numpy failed")},
    ),
    "OpenCV without numpy": Fault(
        "pi-5", "OpenCV", "fail", "without a numpy that works", "fix numpy",
        commands={NUMPY: None, OPENCV: fails("ModuleNotFoundError: No module named 'numpy'")},
    ),
    "OpenCV hidden": Fault(
        "pi-4", "OpenCV", "fail", "virtual environment does not see it", "--system-site-packages",
        {SYSTEM_CV2: ""}, {PYTHON: ISOLATED, OPENCV: None},
    ),
    "OpenCV missing": Fault(
        "pi-zero-2-w", "OpenCV", "fail", "not installed", "sudo apt install -y python3-opencv",
        commands={OPENCV: None},
    ),
    "OpenCV missing on a workstation": Fault(
        "pi-4", "OpenCV", "fail", "not installed", "pip install opencv-python-headless",
        {MODEL: "A workstation\0"}, {OPENCV: None},
    ),
    "OpenCV against numpy 2": Fault(
        "pi-3", "OpenCV", "fail", "another numpy than 2.2.6", "pip install 'numpy<2'",
        commands={NUMPY: NUMPY_2, OPENCV: fails(NUMPY_1_API)},
    ),
    "two OpenCVs, broken": Fault(
        "pi-4", "OpenCV", "fail", "opencv-python and opencv-python-headless overwrite",
        "pip uninstall -y opencv-python opencv-python-headless && /home/pi/edgekit/bin/python -m"
        " pip install opencv-python-headless",
        commands={
            OPENCV: fails("AttributeError: module 'cv2' has no attribute 'gapi_wip_gst'"),
            PYTHON: {"opencv_from_pip": ["opencv-python", "opencv-python-headless"]},
        },
    ),
    "OpenCV without a library": Fault(
        "pi-4", "OpenCV", "fail", "opencv-python needs a library of a desktop",
        "pip uninstall -y opencv-python && /home/pi/edgekit/bin/python -m pip install"
        " opencv-python-headless",
        commands={
            OPENCV: fails("ImportError: libGL.so.1: cannot open shared object file"),
            PYTHON: {"opencv_from_pip": ["opencv-python"]},
        },
    ),
    "OpenCV of another build": Fault(
        "pi-5", "OpenCV", "fail", "another Python or machine", "--no-cache-dir opencv-python",
        commands={
            OPENCV: fails("ImportError: /x/cv2.abi3.so: invalid ELF header"),
            PYTHON: {"opencv_from_pip": ["opencv-python-headless"]},
        },
    ),
    "OpenCV without video on a board": Fault(
        "pi-5", "OpenCV", "fail", "built without FFmpeg and Video4Linux",
        "sudo apt install --reinstall python3-opencv",
        commands={OPENCV: {"lacks": ["FFmpeg", "Video4Linux"]}},
    ),
    "OpenCV without video": Fault(
        "pi-4", "OpenCV", "fail", "built without FFmpeg", "--force-reinstall opencv-python-headl",
        commands={OPENCV: {**PIP_OPENCV, "lacks": ["FFmpeg"]}},
    ),
    "two OpenCVs": Fault(
        "pi-4", "OpenCV", "warn", "opencv-python and opencv-contrib-python overwrite",
        "pip uninstall -y opencv-python opencv-contrib-python &&",
        commands={
            OPENCV: PIP_OPENCV,
            PYTHON: {"opencv_from_pip": ["opencv-python", "opencv-contrib-python"]},
        },
    ),
    "OpenCV broken on a board": Fault(
        "pi-5", "OpenCV", "fail", "libgtk-3.so.0", "--reinstall python3-opencv",
        commands={OPENCV: fails("ImportError: libgtk-3.so.0: cannot open shared object file")},
    ),
    "OpenCV broken": Fault(
        "pi-4", "OpenCV", "fail", "libGL.so.1", "--force-reinstall opencv-python-headless",
        {MODEL: "A workstation\0"},
        {OPENCV: fails("ImportError: libGL.so.1: cannot open shared object file")},
    ),
    "OpenCV from pip beside picamera2": Fault(
        "pi-4", "OpenCV", "warn", "4.12.0 from pip", "pip uninstall -y opencv-python &&",
        commands={OPENCV: PIP_OPENCV, PYTHON: {"opencv_from_pip": ["opencv-python"]}},
    ),
    "OpenCV from pip on a Jetson": Fault(
        "orin-nano", "OpenCV", "warn", "hides JetPack's",
        "pip uninstall -y opencv-python-headless &&",
        commands={OPENCV: {**PIP_OPENCV, "file": f"{SITE_JETSON}/cv2/__init__.py"}},
    ),
    "GStreamer missing for a camera": Fault(
        "orin-nano", "GStreamer", "fail", "the ribbon-cable camera /dev/video0 needs it",
        "sudo apt install python3-gi gir1.2-gst-plugins-base-1.0",
        commands={OPENCV: {"gstreamer": False}},
    ),
    "GStreamer missing": Fault(
        "orin-agx", "GStreamer", "warn", "csi://0 cannot work", "sudo apt install python3-gi",
        commands={OPENCV: {"gstreamer": False}},
    ),
    "GStreamer without NVIDIA's elements": Fault(
        "orin-nano", "GStreamer", "warn", "without nvarguscamerasrc",
        "sudo apt install nvidia-l4t-gstreamer",
        commands={f"{PROBE} elements": {"missing": ["nvarguscamerasrc", "nvvidconv"]}},
    ),
    "wrong numpy for picamera2": Fault(
        "pi-4", "picamera2", "fail", "beside numpy 2.2.6", "pip uninstall -y numpy",
        commands={NUMPY: NUMPY_2, PICAMERA2: fails(DTYPE_SIZE)},
    ),
    "picamera2 broken": Fault(
        "pi-5", "picamera2", "fail", "No module named 'libcamera'", "python3-libcamera",
        commands={PICAMERA2: fails("ModuleNotFoundError: No module named 'libcamera'")},
    ),
    "picamera2 hidden": Fault(
        "pi-4", "picamera2", "warn", "virtual environment does not see it",
        "--system-site-packages",
        {"usr/lib/python3/dist-packages/picamera2/__init__.py": ""},
        {PYTHON: ISOLATED, PICAMERA2: None},
    ),
    "picamera2 missing for a camera": Fault(
        "pi-5", "picamera2", "fail", "ribbon-cable camera /dev/video0 needs it",
        "sudo apt install -y python3-picamera2",
        commands={PICAMERA2: None},
    ),
    "picamera2 missing": Fault(
        "pi-zero-2-w", "picamera2", "warn", "not installed",
        "sudo apt install -y python3-picamera2",
        commands={PICAMERA2: None},
    ),
    "numpy hides the system's": Fault(
        "pi-5", "picamera2", "warn", "hides the system's", "pip uninstall -y numpy",
        commands={NUMPY: NUMPY_2},
    ),
    "camera forbidden": Fault(
        "pi-3", "cameras", "fail", "pi may not open /dev/video0", "sudo usermod -aG video pi",
        commands={
            DEVICES: {"devices": [{**USB, "captures": False, "problem": "Permission denied"}]},
        },
    ),
    "camera fails": Fault(
        "pi-3", "cameras", "fail", "gives no frame", "fuser -v /dev/video0",
        commands={f"{PROBE} camera /dev/video0": {"error": "it opens, but gives no frame"}},
    ),
    "camera not tried": Fault(
        "pi-3", "cameras", "warn", "/dev/video0 (UVC Camera (046d:0825)) was not tried",
        "fix OpenCV",
        commands={OPENCV: None},
    ),
    "no camera": Fault(
        "thor", "cameras", "warn", "no /dev/video*", "edgekit cameras",
        commands={DEVICES: {"devices": []}},
    ),
    "group video": Fault(
        "pi-4", "group video", "warn", "pi is not in the group", "sudo usermod -aG video pi",
        commands={"id -nG": "pi adm sudo render\n"},
    ),
    "group render": Fault(
        "thor", "group render", "warn", "jetson is not in the group",
        "sudo usermod -aG render jetson",
        commands={"id -nG": "jetson adm sudo video\n"},
    ),
    "memory full": Fault(
        "pi-zero-2-w", "memory", "fail", "61 MB free: expected 110 MB", "systemctl isolate",
        {"proc/meminfo": _memory(60_000)},
    ),
    "memory low": Fault(
        "pi-zero-2-w", "memory", "warn", "153 MB free", "systemctl isolate",
        {"proc/meminfo": _memory(150_000)},
    ),
    "memory low to build": Fault(
        "orin-nano", "memory", "warn", "1024 MB free: edgekit build", "systemctl isolate",
        {"proc/meminfo": _memory(1_000_000)},
    ),
    "swap full": Fault(
        "pi-3", "swap", "warn", "208 of 209 MB used", "sudo reboot",
        {"proc/meminfo": _memory(600_000, swap_free_kb=1000)},
    ),
    "disk full": Fault(
        "pi-4", "disk", "fail", "20 MB free on /:", "journalctl --vacuum-size",
        commands={DISK: _disk(20_000)},
    ),
    "disk low": Fault(
        "pi-4", "disk", "warn", "512 MB free on /", "sudo apt clean",
        commands={DISK: _disk(500_000)},
    ),
    "too hot": Fault("pi-5", "temperature", "fail", "84.2 °C", "a fan", {TEMPERATURE: "84200\n"}),
    "hot": Fault("pi-5", "temperature", "warn", "77.0 °C", "a fan", {TEMPERATURE: "77000\n"}),
    "under-voltage now": Fault(
        "pi-3", "power supply", "fail", "under-voltage now", "power supply made for the board",
        commands={THROTTLED: "throttled=0x50005\n"},
    ),
    "under-voltage before": Fault(
        "pi-3", "power supply", "warn", "since the board started (0x10000", "power supply made for",
        commands={THROTTLED: "throttled=0x10000\n"},
    ),
    "power supply unknown": Fault(
        "pi-3", "power supply", "warn", "vcgencmd get_throttled does not report it",
        "vcgencmd get_throttled",
        commands={THROTTLED: None},
    ),
    "over-current before": Fault(
        "orin-nano", "power supply", "warn", "2 times for lack of current", "sudo nvpmodel -m ID",
        {"sys/class/hwmon/hwmon2/oc3_event_cnt": "2\n"},
    ),
    "throttled now": Fault(
        "pi-4", "throttling", "warn", "slowed down now (0x60006", "a fan",
        commands={THROTTLED: "throttled=0x60006\n"},
    ),
    "throttled before": Fault(
        "pi-zero-2-w", "throttling", "warn", "since the board started (0x40000", "sudo reboot",
        commands={THROTTLED: "throttled=0x40000\n"},
    ),
    "clock not synchronized": Fault(
        "pi-4", "clock", "warn", "not synchronized", "sudo timedatectl set-ntp true",
        commands={CLOCK: "NTPSynchronized=no\n"},
    ),
    "clock unknown": Fault(
        "orin-nano", "clock", "warn", "timedatectl does not report it", "date -u",
        commands={CLOCK: None},
    ),
}  # fmt: skip
"""By the key of the rule that must speak."""
