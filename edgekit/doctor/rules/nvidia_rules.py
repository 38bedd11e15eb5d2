"""Rules about JetPack, TensorRT, CUDA and the power mode."""

from __future__ import annotations

from edgekit.doctor.records import Facts
from edgekit.doctor.rules.base import ANY, JETSON, OTHER, Rule, always


def _runs_tensorrt(f: Facts) -> bool:
    return f.tensorrt.works or f.tensorrt_rtx.works


def _is_xavier(f: Facts) -> bool:
    """The AGX Xavier calls itself Jetson-AGX."""
    return "Xavier" in f.board or f.board == "Jetson-AGX"


NVIDIA_RULES = (
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
    Rule("JetPack", "JetPack", JETSON, always, "ok", "{f.jetpack}"),
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
    Rule("TensorRT", "TensorRT", JETSON, always, "ok", "{f.tensorrt.version}"),
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
    Rule("power mode", "power mode", JETSON, always, "ok", "{f.power_mode}"),
)  # fmt: skip
