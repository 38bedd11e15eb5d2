#!/usr/bin/env bash
# Installs edgekit on a Raspberry Pi with Raspberry Pi OS Bookworm or Trixie, 64 bit.
set -euo pipefail

# For the tests; a board has the first and needs no other.
system_python=${EDGEKIT_SYSTEM_PYTHON:-/usr/bin/python3}

usage() {
    cat <<'END'
Usage: install.sh [--venv DIR] [--bare] EDGEKIT.whl

Install edgekit beside the system's OpenCV and picamera2. Run again, it brings the same virtual
environment up to the given wheel. For a service: sudo bash install.sh --venv /opt/edgekit …

  --venv DIR   The virtual environment to make or to update.  [default: ~/edgekit]
  --bare       Leave out what MQTT, metrics and the web page need.
  -h, --help   Show this message and exit.
END
}

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

wheel=""
extras="[mqtt,metrics,serve]"
venv=""
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
        --bare) extras="" ;;
        -*) fail "unknown option $1: expected --venv DIR, --bare or --help" ;;
        *)
            [ -z "$wheel" ] || fail "two wheels given, $wheel and $1: expected one, keep the newest"
            wheel=$1
            ;;
    esac
    shift
done
venv=${venv:-${HOME:?is not set: give a folder with --venv DIR}/edgekit}
[ -n "$wheel" ] || fail "no wheel given: expected install.sh edgekit-VERSION.whl"
[ -f "$wheel" ] || fail "there is no file $wheel: copy the wheel from dist/ of the workstation"
[ "$(getconf LONG_BIT)" = 64 ] ||
    fail "this system has 32 bit: install the 64-bit Raspberry Pi OS (Pi 3, 4, 5, Zero 2 W)"
[ -x "$system_python" ] || fail "there is no $system_python: sudo apt install python3"
"$system_python" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "Python cannot make virtual environments: sudo apt install -y python3-venv"
"$system_python" -c 'import cv2' 2>/dev/null ||
    fail "the system has no OpenCV: sudo apt install -y python3-opencv"
"$system_python" -c 'import picamera2' 2>/dev/null ||
    echo "install.sh: no picamera2, so no csi:// cameras: sudo apt install -y python3-picamera2"
if [ -e "$venv" ] && [ ! -f "$venv/pyvenv.cfg" ] && [ -n "$(ls -A "$venv")" ]; then
    fail "$venv is there and is no virtual environment: move it away, or choose another with --venv DIR"
fi
# Also where there is one: an interrupted one lacks its pip.
log=$("$system_python" -m venv --system-site-packages "$venv" 2>&1) ||
    fail "$venv cannot be made ($(tail -n 1 <<<"$log")): free some space, or choose another folder" \
        "with --venv DIR"

install() {
    local log
    log=$("$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" 2>&1) ||
        fail "pip: $(grep -m 1 '^ERROR' <<<"$log" || tail -n 1 <<<"$log"): connect the board to the" \
            "network, see that the wheel is whole, and run this again"
}

install --upgrade "$wheel$extras"
# pip leaves a version that is there already, though the wheel may have been built again.
install --force-reinstall --no-deps "$wheel"
"$venv/bin/edgekit" --version
echo "install.sh: done; try $venv/bin/edgekit run --camera 0"
