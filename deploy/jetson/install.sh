#!/usr/bin/env bash
# Installs edgekit on a Jetson with JetPack 6 or 7. Run it as yourself: nothing in it needs root.
set -euo pipefail

# Both are here for the tests; a board needs neither.
release_file=${EDGEKIT_RELEASE_FILE:-/etc/nv_tegra_release}
system_python=${EDGEKIT_SYSTEM_PYTHON:-/usr/bin/python3}

usage() {
    cat <<'END'
Usage: install.sh [--venv DIR] EDGEKIT.whl

Install edgekit on a Jetson with JetPack 6 or 7, beside the system's TensorRT and OpenCV.
Run again, it brings the same virtual environment up to the given wheel.

  --venv DIR   The virtual environment to make or to update.  [default: ~/edgekit]
  -h, --help   Show this message and exit.
END
}

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

# import_version PYTHON MODULE: its version, or with status 1 why it cannot be imported.
import_version() {
    "$1" - "$2" 2>/dev/null <<'END'
import importlib
import sys

try:
    print(importlib.import_module(sys.argv[1]).__version__)
except Exception as error:
    print(" ".join(str(error).split()))
    sys.exit(1)
END
}

wheel=""
venv=${HOME:?is not set}/edgekit
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help)
            usage
            exit 0
            ;;
        --venv)
            venv=${2:-}
            [ -n "$venv" ] || fail "--venv has no folder after it: expected --venv DIR"
            shift
            ;;
        --venv=?*) venv=${1#--venv=} ;;
        -*) fail "unknown option $1: expected --venv DIR or --help" ;;
        *)
            [ -z "$wheel" ] || fail "two wheels given, $wheel and $1: expected one, keep the newest"
            wheel=$1
            ;;
    esac
    shift
done

# The board.
[ -r "$release_file" ] || fail "$release_file is absent or cannot be read, so this is no Jetson:" \
    "run this on the board; for a Raspberry Pi follow edgekit's README"
release=$(sed -n '1s/^# R\([0-9][0-9]*\) .*/\1/p' "$release_file")
[ -n "$release" ] || fail "$release_file begins with '$(head -n 1 "$release_file" | cut -c 1-60)':" \
    "expected '# R36 (release), REVISION: …'; install JetPack 6 or 7 again"
if [ "$release" -lt 33 ]; then
    fail "$release_file says R$release, JetPack 4 or older (Python 3.6, TensorRT 8.2): expected R36" \
        "(JetPack 6) or R38 and later (JetPack 7); on a Nano, TX1 or TX2 export the checkpoint with" \
        "torch.onnx at opset 13 and run /usr/src/tensorrt/bin/trtexec --onnx=FILE --fp16"
elif [ "$release" -lt 36 ]; then
    fail "$release_file says R$release, JetPack 5 (Python 3.8, TensorRT 8.5): expected R36 (JetPack" \
        "6) or R38 and later (JetPack 7); flash an Orin with JetPack 6; on a Xavier unzip model.onnx" \
        "from the bundle and run /usr/src/tensorrt/bin/trtexec --onnx=model.onnx --int8 --fp16"
elif [ "$release" -lt 38 ]; then
    jetpack=6
    cuda_python='cuda-python>=12.2,<13'
else
    jetpack=7
    cuda_python='cuda-python>=13,<14'
fi

# What was asked for.
[ -n "$wheel" ] || fail "no wheel given: expected install.sh edgekit-VERSION.whl, which make wheel" \
    "writes into dist/ on the workstation"
[ -f "$wheel" ] || fail "$wheel is not a file: expected edgekit-VERSION.whl, which make wheel writes" \
    "into dist/ on the workstation"
case ${wheel##*/} in
    edgekit-*.whl) ;;
    *) fail "${wheel##*/} is not edgekit's wheel: expected a file named edgekit-VERSION-….whl" ;;
esac
[ "$(id -u)" != 0 ] || fail "run as root: expected your own user, whose home gets the virtual" \
    "environment; run it again without sudo"
wheel=$(realpath -- "$wheel")
venv=$(realpath -m -- "$venv")
if [ -e "$venv" ]; then
    [ -f "$venv/pyvenv.cfg" ] || fail "$venv is there and is no virtual environment: move it away," \
        "or choose another folder with --venv DIR"
    grep -Eqi '^include-system-site-packages *= *true' "$venv/pyvenv.cfg" ||
        fail "$venv was made without --system-site-packages and cannot see the system's TensorRT:" \
            "delete it, or choose another folder with --venv DIR"
fi
cd / # so that no folder here named like a Python module is imported

# What JetPack brings.
[ -x "$system_python" ] || fail "$system_python is absent: sudo apt install python3"
python_version=$("$system_python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') ||
    fail "$system_python does not run: sudo apt install --reinstall python3"
"$system_python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "$system_python is Python $python_version: expected 3.10 or newer, as JetPack 6 and 7 have;" \
        "install JetPack again"
"$system_python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$system_python cannot make virtual environments: sudo apt install python3-venv"
tensorrt=$(import_version "$system_python" tensorrt) ||
    fail "$system_python cannot import tensorrt (${tensorrt:-it crashes}):" \
        "sudo apt install nvidia-jetpack python3-libnvinfer"
opencv=$(import_version "$system_python" cv2) ||
    fail "$system_python cannot import cv2 (${opencv:-it crashes}): sudo apt install python3-opencv"
numpy=$(import_version "$system_python" numpy) ||
    fail "$system_python cannot import numpy (${numpy:-it crashes}): sudo apt install python3-numpy"
# The system's OpenCV is bound to numpy's major version; pip would bring the newest.
numpy_bound="numpy<$((${numpy%%.*} + 1))"

# The virtual environment. One that is begun here and not finished goes again.
begun=""
trap '[ -z "$begun" ] || rm -rf -- "$begun"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
if [ -e "$venv" ]; then
    echo "updating $venv"
else
    echo "making $venv"
    begun=$venv
fi
log=$("$system_python" -m venv --system-site-packages "$venv" 2>&1) ||
    fail "$venv cannot be made ($(tail -n 1 <<<"$log")): free some space, or choose another folder" \
        "with --venv DIR"
python=$venv/bin/python

install() {
    local log
    log=$("$python" -m pip install --quiet --disable-pip-version-check "$@" 2>&1) ||
        fail "pip: $(grep -m 1 '^ERROR' <<<"$log" || tail -n 1 <<<"$log"): connect the board to the" \
            "network, see that the wheel is whole, and run this again"
}

echo "installing edgekit and what it needs, some minutes"
install "$wheel" "$cuda_python" "$numpy_bound"
# pip leaves a version that is there already, though the wheel may have been built again.
install --force-reinstall --no-deps "$wheel"

edgekit=$(import_version "$python" edgekit) ||
    fail "edgekit is installed but cannot be imported (${edgekit:-it crashes}): report it with this line"
opencv=$(import_version "$python" cv2) ||
    fail "cv2 cannot be imported in $venv (${opencv:-it crashes}): remove an OpenCV or numpy that pip" \
        "put there ($python -m pip list --local), then run this again"
cuda=$("$python" -c 'import importlib.metadata as m; print(m.version("cuda-python"))')
begun=""

cat <<END
JetPack      $jetpack (R$release)
Python       $python_version
TensorRT     $tensorrt
OpenCV       $opencv
cuda-python  $cuda
edgekit      $edgekit
END
reason=$("$python" -c 'from edgekit.engines.tensorrt.engine_provider import why_unavailable as why
print(why() or "")' 2>&1) || reason=$(tail -n 1 <<<"$reason")
[ -z "$reason" ] || echo "warning: installed, but the GPU cannot be used yet: $reason" >&2
echo "next: $venv/bin/edgekit build my.edgekit   (without a bundle: the built-in demo)"
