"""The rules: what a machine may lack, how that reads, and the command that fixes it.

Rules of one name are listed together, the gravest first: the first that holds is the check's
answer, so a rule may rely on those above it. A check none of whose rules holds is left out. `fail`:
something that edgekit does cannot work here. `warn`: it works, but slower, with gaps, or not for
long. Texts are formatted with the facts as `f`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from edgekit.doctor.records import Facts, Kind

Status = Literal["ok", "warn", "fail"]
_Machines = tuple[Kind, ...]

PI: _Machines = ("pi",)
JETSON: _Machines = ("jetson",)
OTHER: _Machines = ("other",)
BOARDS: _Machines = ("pi", "jetson")
ANY: _Machines = ("pi", "jetson", "other")

OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 14)
_MB = 1_000_000
NEEDED_MEMORY = 110 * _MB
"""The camera loop's peak is 92 to 108 MB, docs/cameras.md."""
SPARE_MEMORY = 200 * _MB
BUILD_MEMORY = 1500 * _MB
"""A Jetson's memory is also its GPU's; TensorRT takes about this much to build an engine."""
NEEDED_DISK, SPARE_DISK = 100 * _MB, 1000 * _MB
HOT_C: dict[Kind, tuple[float, float]] = {"pi": (75, 80), "jetson": (85, 95), "other": (85, 95)}
"""Warn and fail. A Pi slows down at 80 °C (raspberrypi.com/documentation), an Orin at 99 °C
(NVIDIA's Jetson Linux Developer Guide, thermal specifications)."""


class Rule(NamedTuple):
    """One rule. `key` is its own name; `machines` are the kinds it is for."""

    key: str
    name: str
    machines: tuple[Kind, ...]
    holds: Callable[[Facts], bool]
    status: Status
    found: str
    fix: str | None = None


def _always(_facts: Facts) -> bool:
    return True


def _is_32_bit_arm(f: Facts) -> bool:
    return f.python.bits == 32 and f.python.architecture.startswith(("arm", "aarch64"))


def _has_no_runtime(f: Facts) -> bool:
    return f.litert.missing and f.tflite_runtime.missing


def _runs_tensorrt(f: Facts) -> bool:
    return f.tensorrt.works or f.tensorrt_rtx.works


def _is_short(amount: int | None, needed: int) -> bool:
    return amount is not None and amount < needed


def _numpy_breaks_picamera2(f: Facts) -> bool:
    """Its compiled parts (simplejpeg) fit the numpy of the system alone."""
    return f.picamera2.broken and "numpy" in str(f.picamera2.error)


def _is_xavier(f: Facts) -> bool:
    """The AGX Xavier calls itself Jetson-AGX."""
    return "Xavier" in f.board or f.board == "Jetson-AGX"


_SYSTEM = (
    Rule(
        "board without a runtime", "board", PI,
        lambda f: f.python.architecture == "armv6l",
        "fail",
        "{f.board}, ARMv6: no TFLite runtime is built for it",
        "use a Pi Zero 2 W, 3, 4 or 5 with the 64-bit Raspberry Pi OS",
    ),
    Rule("board", "board", ANY, _always, "ok", "{f.board}, {f.cores} × {f.cpu}"),
    Rule(
        "32 bit without a runtime", "system", ANY,
        lambda f: _is_32_bit_arm(f) and (f.python.release or (0, 0)) >= (3, 12),
        "fail",
        "{f.os}, 32 bit, Python {f.python.version}: no TFLite runtime exists for it",
        "install the 64-bit system: Raspberry Pi Imager, Raspberry Pi OS (64-bit)",
    ),
    Rule(
        "32 bit", "system", ANY, lambda f: f.python.bits == 32, "warn",
        "{f.os}, 32 bit: tflite-runtime has no XNNPACK there, so models run slower",
        "install the 64-bit system: Raspberry Pi Imager, Raspberry Pi OS (64-bit)",
    ),
    Rule(
        "system", "system", ANY, _always, "ok",
        "{f.os}, {f.python.bits} bit, {f.python.architecture}",
    ),
    Rule(
        "Python too old", "Python", ANY,
        lambda f: not f.python.is_between(OLDEST_PYTHON, (99, 0)),
        "fail",
        "{f.python.version}: expected 3.10 to 3.14",
        "install a system that has it: Raspberry Pi OS Bookworm or Trixie, JetPack 6 or 7,"
        " Ubuntu 22.04 or newer",
    ),
    Rule(
        "Python too new", "Python", ANY,
        lambda f: not f.python.is_between(OLDEST_PYTHON, NEWEST_PYTHON),
        "warn",
        "{f.python.version}: LiteRT exists for Python 3.10 to 3.14",
        "python3.13 -m venv --system-site-packages ~/edgekit && ~/edgekit/bin/pip install"
        " edgekit-*.whl",
    ),
    Rule(
        "isolated environment", "Python", BOARDS, lambda f: f.python.isolated, "warn",
        "{f.python.version}, {f.python.executable}: a virtual environment without the system's"
        " packages (OpenCV, picamera2, TensorRT)",
        "{f.remake_environment}",
    ),
    Rule("Python", "Python", ANY, _always, "ok", "{f.python.version}, {f.python.executable}"),
    Rule("edgekit", "edgekit", ANY, _always, "ok", "{f.edgekit}"),
)  # fmt: skip

_NVIDIA = (
    Rule(
        "JetPack 4 on a Xavier", "JetPack", JETSON,
        lambda f: f.jetpack_major == 4 and _is_xavier(f),
        "fail",
        "{f.jetpack}: Python 3.6 and TensorRT 8.2, and edgekit needs Python 3.10 and TensorRT 8.6",
        "flash JetPack 5, the board's last; then unzip my.edgekit model.onnx &&"
        " /usr/src/tensorrt/bin/trtexec --onnx=model.onnx --int8 --fp16",
    ),
    Rule(
        "JetPack 3", "JetPack", JETSON, lambda f: f.jetpack_major == 3, "fail",
        "{f.jetpack}: Python 2 or 3.5, and edgekit needs Python 3.10 and TensorRT 8.6",
        "flash JetPack 4.6, the board's last; then export the checkpoint with torch.onnx at opset"
        " 13, and on the board /usr/src/tensorrt/bin/trtexec --onnx=FILE --fp16",
    ),
    Rule(
        "JetPack 4", "JetPack", JETSON, lambda f: f.jetpack_major == 4, "fail",
        "{f.jetpack}, the board's last: Python 3.6 and TensorRT 8.2, which reads neither opset 17"
        " nor uint8 pixels, and a GPU without int8 instructions",
        "export the checkpoint with torch.onnx at opset 13, then on the board"
        " /usr/src/tensorrt/bin/trtexec --onnx=FILE --fp16",
    ),
    Rule(
        "JetPack 5 on a Xavier", "JetPack", JETSON,
        lambda f: f.jetpack_major == 5 and _is_xavier(f),
        "fail",
        "{f.jetpack}, the board's last: Python 3.8 and TensorRT 8.5, and edgekit needs Python 3.10"
        " and TensorRT 8.6",
        "unzip my.edgekit model.onnx && /usr/src/tensorrt/bin/trtexec --onnx=model.onnx --int8"
        " --fp16",
    ),
    Rule(
        "JetPack 5", "JetPack", JETSON, lambda f: f.jetpack_major == 5, "fail",
        "{f.jetpack}: Python 3.8 and TensorRT 8.5, and edgekit needs Python 3.10 and TensorRT 8.6",
        "flash JetPack 6 with NVIDIA's SDK Manager: this board runs it",
    ),
    Rule(
        "JetPack unknown", "JetPack", JETSON, lambda f: f.l4t is None, "warn",
        "not known: /etc/nv_tegra_release is absent or names no release, as in a container",
        "head -n 1 /etc/nv_tegra_release   # on the board itself; expected R36, R38 or R39",
    ),
    Rule("JetPack", "JetPack", JETSON, _always, "ok", "{f.jetpack}"),
    Rule(
        "TensorRT hidden", "TensorRT", JETSON,
        lambda f: f.tensorrt.missing and "tensorrt" in f.hidden,
        "fail",
        "installed on the system, but this virtual environment does not see it",
        "{f.remake_environment}",
    ),
    Rule(
        "TensorRT missing", "TensorRT", JETSON, lambda f: f.tensorrt.missing, "fail",
        "not installed",
        "sudo apt install nvidia-jetpack python3-libnvinfer",
    ),
    Rule(
        "TensorRT broken", "TensorRT", JETSON, lambda f: f.tensorrt.broken, "fail",
        "cannot be imported: {f.tensorrt.error}",
        "sudo apt install --reinstall nvidia-jetpack python3-libnvinfer",
    ),
    Rule("TensorRT", "TensorRT", JETSON, _always, "ok", "{f.tensorrt.version}"),
    Rule(
        "TensorRT on a workstation", "TensorRT", OTHER, lambda f: f.tensorrt.works, "ok",
        "{f.tensorrt.version}",
    ),
    Rule(
        "GPU without engines", "TensorRT", OTHER,
        lambda f: _runs_tensorrt(f) and f.gpu.unserved,
        "warn",
        "TensorRT-RTX {f.tensorrt_rtx.version} has no engines for {f.gpu.name}: a Jetson's bundles"
        " run on ONNX Runtime",
        "{f.python.executable} -m pip install tensorrt",
    ),
    Rule(
        "TensorRT-RTX", "TensorRT", OTHER, _runs_tensorrt, "ok",
        "TensorRT-RTX {f.tensorrt_rtx.version}",
    ),
    Rule(
        "CUDA missing", "CUDA", JETSON,
        lambda f: f.cuda is None and f.gpu.error is not None,
        "fail",
        "no CUDA toolkit (/usr/local/cuda/version.json is absent), and no GPU can be used:"
        " {f.gpu.error}",
        "sudo apt install nvidia-jetpack",
    ),
    Rule(
        "CUDA without Python, JetPack 7", "CUDA", JETSON,
        lambda f: f.gpu.no_binding and (f.jetpack_major or 6) >= 7,
        "fail",
        "{f.cuda_name}, but neither cuda-python nor pycuda can be imported",
        "{f.pip} install 'cuda-python>=13,<14'",
    ),
    Rule(
        "CUDA without Python", "CUDA", JETSON, lambda f: f.gpu.no_binding, "fail",
        "{f.cuda_name}, but neither cuda-python nor pycuda can be imported",
        "{f.pip} install 'cuda-python>=12.2,<13'",
    ),
    Rule(
        "GPU forbidden", "CUDA", JETSON,
        lambda f: f.gpu.error is not None and (f.lacks_group("video") or f.lacks_group("render")),
        "fail",
        "no GPU can be used, and {f.user} is not in both groups that may: {f.gpu.error}",
        "sudo usermod -aG video,render {f.user}   # then log out and in again",
    ),
    Rule(
        "GPU unusable", "CUDA", JETSON, lambda f: f.gpu.error is not None, "fail",
        "{f.cuda_name}, but no GPU can be used: {f.gpu.error}",
        "{f.pip} install 'cuda-python>=12.2,<12.7'   # on JetPack 6, whose driver may be older than"
        " cuda-python; else sudo reboot",
    ),
    Rule(
        "CUDA", "CUDA", ANY, lambda f: f.gpu.capability is not None, "ok",
        "{f.cuda_name}, {f.gpu.name}, compute capability {f.gpu.capability[0]}"
        ".{f.gpu.capability[1]}, through {f.gpu.package}",
    ),
    Rule(
        "power mode unknown", "power mode", JETSON, lambda f: f.power_mode is None, "warn",
        "not known: nvpmodel does not report it, as in a container",
        "sudo nvpmodel -q   # on the board itself",
    ),
    Rule(
        "power mode low", "power mode", JETSON,
        lambda f: f.highest_mode not in (None, f.power_mode),
        "warn",
        "{f.power_mode}, and the board has {f.highest_mode}",
        "sudo nvpmodel -m {f.highest_mode_number}   # then edgekit build again: engines are kept"
        " per mode",
    ),
    Rule("power mode", "power mode", JETSON, _always, "ok", "{f.power_mode}"),
)  # fmt: skip

_NUMPY = (
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
    Rule("numpy", "numpy", ANY, _always, "ok", "{f.numpy.version}, {f.numpy.file}"),
)  # fmt: skip

_RUNTIMES = (
    Rule(
        "LiteRT missing on 32 bit", "LiteRT", ANY,
        lambda f: _has_no_runtime(f) and _is_32_bit_arm(f),
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
    Rule("LiteRT", "LiteRT", ANY, _always, "ok", "{f.runtime_name} {f.runtime.version}"),
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
        "ONNX Runtime not needed", "ONNX Runtime", ANY, _always, "ok",
        "not installed: needed only for a Jetson's bundle on another machine",
    ),
)  # fmt: skip

_IMAGES = (
    Rule(
        "OpenCV hidden", "OpenCV", BOARDS,
        lambda f: f.opencv.missing and "cv2" in f.hidden,
        "fail",
        "installed on the system, but this virtual environment does not see it",
        "{f.remake_environment}",
    ),
    Rule(
        "OpenCV missing", "OpenCV", BOARDS, lambda f: f.opencv.missing, "fail",
        "not installed: cameras and videos need it",
        "sudo apt install -y python3-opencv",
    ),
    Rule(
        "OpenCV missing on a workstation", "OpenCV", OTHER, lambda f: f.opencv.missing, "fail",
        "not installed: cameras and videos need it",
        "{f.pip} install opencv-python-headless",
    ),
    Rule(
        "OpenCV without numpy", "OpenCV", ANY,
        lambda f: f.opencv.broken and not f.numpy.works,
        "fail",
        "cannot be imported without a numpy that works",
        "fix numpy, then edgekit doctor",
    ),
    Rule(
        "OpenCV against numpy 2", "OpenCV", BOARDS,
        lambda f: f.opencv.broken and f.numpy.from_pip,
        "fail",
        "cannot be imported beside numpy {f.numpy.version} from pip: {f.opencv.error}",
        "{f.pip} uninstall -y numpy   # the system's own comes back; else install 'numpy<2'",
    ),
    Rule(
        "OpenCV broken on a board", "OpenCV", BOARDS, lambda f: f.opencv.broken, "fail",
        "cannot be imported: {f.opencv.error}",
        "sudo apt install --reinstall python3-opencv",
    ),
    Rule(
        "OpenCV broken", "OpenCV", OTHER, lambda f: f.opencv.broken, "fail",
        "cannot be imported: {f.opencv.error}",
        "{f.pip} install --force-reinstall opencv-python-headless",
    ),
    Rule(
        "OpenCV from pip beside picamera2", "OpenCV", PI,
        lambda f: f.opencv.from_pip and not f.picamera2.missing,
        "warn",
        "{f.opencv.version} from pip ({f.opencv.file}) hides the system's, which fits picamera2's"
        " numpy and has GStreamer",
        "{f.pip} uninstall -y {f.opencv_pip_names} && sudo apt install -y python3-opencv",
    ),
    Rule(
        "OpenCV from pip on a Jetson", "OpenCV", JETSON, lambda f: f.opencv.from_pip, "warn",
        "{f.opencv.version} from pip ({f.opencv.file}) hides JetPack's, which has GStreamer",
        "{f.pip} uninstall -y {f.opencv_pip_names} && sudo apt install python3-opencv",
    ),
    Rule("OpenCV", "OpenCV", ANY, _always, "ok", "{f.opencv.version}, {f.opencv.file}"),
    Rule(
        "GStreamer missing for a camera", "GStreamer", JETSON,
        lambda f: not (f.opencv.gstreamer or f.gobject.gstreamer) and bool(f.ribbon_cameras),
        "fail",
        "neither OpenCV {f.opencv.version} nor PyGObject has it, and the ribbon-cable camera"
        " {f.ribbon_cameras[0].path} needs it",
        "sudo apt install python3-gi gir1.2-gst-plugins-base-1.0   # or JetPack's own OpenCV",
    ),
    Rule(
        "GStreamer missing", "GStreamer", JETSON,
        lambda f: not (f.opencv.gstreamer or f.gobject.gstreamer),
        "warn",
        "neither OpenCV {f.opencv.version} nor PyGObject has it: --camera csi://0 cannot work",
        "sudo apt install python3-gi gir1.2-gst-plugins-base-1.0   # or JetPack's own OpenCV",
    ),
    Rule(
        "GStreamer without NVIDIA's elements", "GStreamer", JETSON,
        lambda f: bool(f.missing_elements),
        "warn",
        "without {f.missing_elements[0]}: --camera csi://0 cannot work",
        "sudo apt install nvidia-l4t-gstreamer",
    ),
    Rule(
        "GStreamer", "GStreamer", JETSON, lambda f: f.opencv.gstreamer, "ok",
        "in OpenCV {f.opencv.version}",
    ),
    Rule(
        "GStreamer through PyGObject", "GStreamer", JETSON, _always, "ok",
        "through PyGObject {f.gobject.version}",
    ),
    Rule(
        "wrong numpy for picamera2", "picamera2", PI, _numpy_breaks_picamera2, "fail",
        "cannot be imported beside numpy {f.numpy.version} ({f.numpy.file}): it needs the"
        " system's: {f.picamera2.error}",
        "{f.pip} uninstall -y numpy   # the system's own comes back",
    ),
    Rule(
        "picamera2 broken", "picamera2", PI, lambda f: f.picamera2.broken, "fail",
        "cannot be imported: {f.picamera2.error}",
        "sudo apt install --reinstall -y python3-picamera2 python3-libcamera",
    ),
    Rule(
        "picamera2 hidden", "picamera2", PI,
        lambda f: f.picamera2.missing and "picamera2" in f.hidden,
        "warn",
        "installed on the system, but this virtual environment does not see it",
        "{f.remake_environment}",
    ),
    Rule(
        "picamera2 missing for a camera", "picamera2", PI,
        lambda f: f.picamera2.missing and bool(f.ribbon_cameras),
        "fail",
        "not installed, and the ribbon-cable camera {f.ribbon_cameras[0].path} needs it",
        "sudo apt install -y python3-picamera2",
    ),
    Rule(
        "picamera2 missing", "picamera2", PI, lambda f: f.picamera2.missing, "warn",
        "not installed: --camera csi://0 cannot work",
        "sudo apt install -y python3-picamera2",
    ),
    Rule(
        "numpy hides the system's", "picamera2", PI, lambda f: f.numpy.from_pip, "warn",
        "{f.picamera2.version} works, beside numpy {f.numpy.version} from pip, which hides the"
        " system's that it was built for",
        "{f.pip} uninstall -y numpy   # the system's own comes back",
    ),
    Rule("picamera2", "picamera2", PI, _always, "ok", "{f.picamera2.version}"),
)  # fmt: skip

_CAMERAS = (
    Rule(
        "camera forbidden", "cameras", ANY, lambda f: f.forbidden_camera is not None, "fail",
        "{f.user} may not open {f.forbidden_camera.path} ({f.forbidden_camera.name}): permission"
        " denied",
        "sudo usermod -aG video {f.user}   # then log out and in again",
    ),
    Rule(
        "camera fails", "cameras", ANY, lambda f: f.failing_camera is not None, "fail",
        "{f.failing_camera.path} ({f.failing_camera.name}) does not work:"
        " {f.failing_camera.trouble}",
        "fuser -v {f.failing_camera.path}   # which program holds it? else another port or cable",
    ),
    Rule(
        "camera not tried", "cameras", ANY, lambda f: f.untried_camera is not None, "warn",
        "{f.untried_camera.path} ({f.untried_camera.name}) was not tried: OpenCV does not work",
        "fix OpenCV, then edgekit doctor",
    ),
    Rule(
        "no camera", "cameras", ANY,
        lambda f: not f.usable_cameras and not f.ribbon_cameras,
        "warn",
        "no /dev/video* gives frames",
        "plug a camera in, then edgekit cameras; or name a stream: edgekit run --source URL",
    ),
    Rule("cameras", "cameras", ANY, _always, "ok", "{f.camera_names}"),
    Rule(
        "group video", "group video", BOARDS, lambda f: f.lacks_group("video"), "warn",
        "{f.user} is not in the group that may open cameras",
        "sudo usermod -aG video {f.user}   # then log out and in again",
    ),
    Rule(
        "in group video", "group video", BOARDS,
        lambda f: bool(f.user) and "video" in f.known_groups,
        "ok",
        "{f.user} may open cameras",
    ),
    Rule(
        "group render", "group render", BOARDS, lambda f: f.lacks_group("render"), "warn",
        "{f.user} is not in the group that may use the GPU",
        "sudo usermod -aG render {f.user}   # then log out and in again",
    ),
    Rule(
        "in group render", "group render", BOARDS,
        lambda f: bool(f.user) and "render" in f.known_groups,
        "ok",
        "{f.user} may use the GPU",
    ),
)  # fmt: skip

_CONDITIONS = (
    Rule(
        "memory full", "memory", ANY,
        lambda f: _is_short(f.memory_free_bytes, NEEDED_MEMORY),
        "fail",
        "{f.memory_free_mb} MB free: expected 110 MB, which edgekit run takes",
        "ps aux --sort=-rss | head   # then stop what is not needed, as a desktop: sudo systemctl"
        " isolate multi-user.target",
    ),
    Rule(
        "memory low", "memory", ANY,
        lambda f: _is_short(f.memory_free_bytes, SPARE_MEMORY),
        "warn",
        "{f.memory_free_mb} MB free: edgekit run takes 110 MB",
        "ps aux --sort=-rss | head   # then stop what is not needed, as a desktop: sudo systemctl"
        " isolate multi-user.target",
    ),
    Rule(
        "memory low to build", "memory", JETSON,
        lambda f: _is_short(f.memory_free_bytes, BUILD_MEMORY),
        "warn",
        "{f.memory_free_mb} MB free: edgekit build may need 1500 MB",
        "sudo systemctl isolate multi-user.target   # frees what the desktop holds",
    ),
    Rule(
        "memory", "memory", ANY, lambda f: f.memory_free_bytes is not None, "ok",
        "{f.memory_free_mb} MB free",
    ),
    Rule(
        "swap full", "swap", ANY,
        lambda f: f.swap_bytes > 0 and f.swap_used_bytes >= 0.9 * f.swap_bytes,
        "warn",
        "{f.swap_used_mb} of {f.swap_mb} MB used: the next program that needs memory is killed",
        "sudo reboot   # or stop what takes most: ps aux --sort=-rss | head",
    ),
    Rule(
        "swap", "swap", ANY, lambda f: f.swap_bytes > 0, "ok",
        "{f.swap_used_mb} of {f.swap_mb} MB used",
    ),
    Rule(
        "disk full", "disk", ANY,
        lambda f: f.disk is not None and f.disk.free_bytes < NEEDED_DISK,
        "fail",
        "{f.disk_free_mb} MB free on {f.disk.path}: expected 100 MB",
        "sudo apt clean && sudo journalctl --vacuum-size=50M   # then: sudo du -xh {f.disk.path} |"
        " sort -h | tail",
    ),
    Rule(
        "disk low", "disk", ANY,
        lambda f: f.disk is not None and f.disk.free_bytes < SPARE_DISK,
        "warn",
        "{f.disk_free_mb} MB free on {f.disk.path}",
        "sudo apt clean && sudo journalctl --vacuum-size=50M   # then: sudo du -xh {f.disk.path} |"
        " sort -h | tail",
    ),
    Rule(
        "disk", "disk", ANY, lambda f: f.disk is not None, "ok",
        "{f.disk_free_mb} MB free on {f.disk.path}",
    ),
    Rule(
        "too hot", "temperature", ANY,
        lambda f: f.temperature_c is not None and f.temperature_c >= HOT_C[f.kind][1],
        "fail",
        "{f.temperature_c} °C: the processor is slowed down or about to be",
        "fit a heat sink and a fan, let it cool, then edgekit doctor",
    ),
    Rule(
        "hot", "temperature", ANY,
        lambda f: f.temperature_c is not None and f.temperature_c >= HOT_C[f.kind][0],
        "warn",
        "{f.temperature_c} °C: near where the processor is slowed down",
        "fit a heat sink and a fan, let it cool, then edgekit doctor",
    ),
    Rule(
        "temperature", "temperature", ANY, lambda f: f.temperature_c is not None, "ok",
        "{f.temperature_c} °C",
    ),
    Rule(
        "under-voltage now", "power supply", PI, lambda f: f.throttled_bits(0), "fail",
        "under-voltage now ({f.throttled_text}): the card may be damaged, cameras drop out",
        "use the power supply made for the board, 5 V 3 A (Pi 5: 5 V 5 A), and a short thick cable",
    ),
    Rule(
        "under-voltage before", "power supply", PI, lambda f: f.throttled_bits(16), "warn",
        "under-voltage {f.marked_span} ({f.throttled_text})",
        "use the power supply made for the board, 5 V 3 A (Pi 5: 5 V 5 A), then sudo reboot",
    ),
    Rule(
        "power supply unknown", "power supply", PI, lambda f: f.throttled is None, "warn",
        "not known: vcgencmd get_throttled does not report it, as in a container",
        "vcgencmd get_throttled   # on the board itself, by a user in the group video",
    ),
    Rule(
        "power supply", "power supply", PI, _always, "ok",
        "no under-voltage {f.marked_span}",
    ),
    Rule(
        "over-current before", "power supply", JETSON,
        lambda f: bool(f.over_current_events),
        "warn",
        "the board slowed itself down {f.over_current_events} times for lack of current since it"
        " started",
        "use the maker's power supply, or a lower power mode: sudo nvpmodel -m ID, see"
        " /etc/nvpmodel.conf",
    ),
    Rule(
        "no over-current", "power supply", JETSON,
        lambda f: f.over_current_events == 0,
        "ok",
        "no over-current since the board started",
    ),
    Rule(
        "throttled now", "throttling", PI, lambda f: f.throttled_bits(1, 2, 3), "warn",
        "slowed down now ({f.throttled_text})",
        "fit a heat sink and a fan, and see temperature and power supply; then edgekit doctor",
    ),
    Rule(
        "throttled before", "throttling", PI, lambda f: f.throttled_bits(17, 18, 19), "warn",
        "slowed down {f.marked_span} ({f.throttled_text})",
        "fit a heat sink and a fan, then sudo reboot, which clears the mark",
    ),
    Rule(
        "not throttled", "throttling", PI, lambda f: f.throttled is not None, "ok",
        "none {f.marked_span}",
    ),
    Rule(
        "clock not synchronized", "clock", ANY,
        lambda f: f.clock_synchronized is False,
        "warn",
        "not synchronized: time stamps are wrong, and TLS connections may fail",
        "sudo timedatectl set-ntp true   # and a network that lets NTP (UDP port 123) through",
    ),
    Rule(
        "clock unknown", "clock", ANY, lambda f: f.clock_synchronized is None, "warn",
        "not known whether it is synchronized: timedatectl does not report it, as in a container",
        "date -u   # compare it with another clock; a container has its host's",
    ),
    Rule("clock", "clock", ANY, _always, "ok", "synchronized"),
)  # fmt: skip

RULES = (*_SYSTEM, *_NVIDIA, *_NUMPY, *_RUNTIMES, *_IMAGES, *_CAMERAS, *_CONDITIONS)
"""In the order of the answer."""
