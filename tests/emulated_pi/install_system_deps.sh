#!/usr/bin/env bash
# Install what the tests need from the system, on Debian or Ubuntu, as root: `make system-deps`.
# Safe to run again: what is there already is left alone. The choice is explained in
# docs/decisions/emulated-board.md.
set -euo pipefail

PACKAGES=(
    debootstrap        # makes the aarch64 root
    qemu-user-static   # runs its programs
    python3            # the system's Python, with its own OpenCV: the environment a board has
    python3-venv
    python3-opencv
    xvfb               # a display for the preview window's tests
    gstreamer1.0-plugins-base     # a test picture in the place of a CSI camera
    python3-gi                    # GStreamer where OpenCV has none
    gir1.2-gst-plugins-base-1.0
    gir1.2-gst-rtsp-server-1.0    # an RTSP camera that can be switched off and on
    gstreamer1.0-plugins-good
    systemd            # its own opinion of the service unit
    mosquitto          # an MQTT broker that can be switched off and on
    openssl            # a certificate for the broker
    openssh-server     # boards that are reached over ssh
    openssh-client
    procps
    gcc                # empty libraries, beside which NVIDIA's Python bindings can be imported
    binutils
    shellcheck         # the boards' install scripts
)
readonly BINFMT=/proc/sys/fs/binfmt_misc
readonly QEMU=/usr/bin/qemu-aarch64-static

fail() {
    echo "system-deps: $*" >&2
    exit 1
}

install_packages() {
    local missing=() package
    # Ubuntu has Chromium as a snap only; without it the tests of the pages are skipped.
    grep -qx 'ID=ubuntu' /etc/os-release || PACKAGES+=(chromium fonts-dejavu-core)
    for package in "${PACKAGES[@]}"; do
        dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null |
            grep -qx installed || missing+=("$package")
    done
    if ((${#missing[@]} == 0)); then
        echo "system-deps: packages are all installed"
        return
    fi
    echo "system-deps: installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    # A third-party list that cannot be reached is no reason to stop; a missing package is.
    apt-get update -qq || echo "system-deps: some package lists could not be refreshed" >&2
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
        fail "apt-get could not install ${missing[*]}: see its message above"
}

register_aarch64() {
    if [[ ! -e $BINFMT/register ]]; then
        mount -t binfmt_misc binfmt_misc "$BINFMT" ||
            fail "cannot mount binfmt_misc on $BINFMT: the container needs --privileged, or mount it on the host"
    fi
    if [[ -e $BINFMT/qemu-aarch64 ]]; then
        # F (fix binary) opens the interpreter now, so that it is found from inside a chroot.
        if grep -q '^enabled' "$BINFMT/qemu-aarch64" && grep -q '^flags:.*F' "$BINFMT/qemu-aarch64"; then
            echo "system-deps: aarch64 programs are registered already"
            return
        fi
        echo -1 >"$BINFMT/qemu-aarch64"
    fi
    local magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
    local mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    printf '%s' ":qemu-aarch64:M::$magic:$mask:$QEMU:F" >"$BINFMT/register"
    echo "system-deps: aarch64 programs now run by $QEMU"
}

((EUID == 0)) || fail "needs root, this is user $(id -un): run sudo make system-deps"
command -v apt-get >/dev/null || fail "needs apt-get (Debian, Ubuntu, Raspberry Pi OS), which this system lacks"
install_packages
register_aarch64
