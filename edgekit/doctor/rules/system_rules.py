"""Rules about the board, its system, Python and edgekit."""

from __future__ import annotations

from edgekit.doctor.rules.base import ANY, BOARDS, PI, Rule, always, is_32_bit_arm

OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 14)


SYSTEM_RULES = (
    Rule(
        "board without a runtime", "board", PI,
        lambda f: f.python.architecture == "armv6l",
        "fail",
        "{f.board}, ARMv6: no TFLite runtime is built for it",
        "use a Pi Zero 2 W, 3, 4 or 5 with the 64-bit Raspberry Pi OS",
    ),
    Rule("board", "board", ANY, always, "ok", "{f.board}, {f.cores} × {f.cpu}"),
    Rule(
        "32 bit without a runtime", "system", ANY,
        lambda f: is_32_bit_arm(f) and (f.python.release or (0, 0)) >= (3, 12),
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
        "system", "system", ANY, always, "ok",
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
    Rule("Python", "Python", ANY, always, "ok", "{f.python.version}, {f.python.executable}"),
    Rule("edgekit", "edgekit", ANY, always, "ok", "{f.edgekit}"),
)  # fmt: skip
