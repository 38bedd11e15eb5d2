"""Gathering never raises, and programs that hang, crash or are absent are answers."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from edgekit.doctor import commands
from edgekit.doctor.checks import check_machine
from edgekit.doctor.commands import PROBE, ProgramResult, explain, run_command
from edgekit.doctor.facts import gather_facts
from tests.doctor.faults import PYTHON, RELEASE, THROTTLED
from tests.doctor.machines import BOARDS, NAMES, check_by_name, copy_board, look_at


def test_a_machine_that_tells_nothing_is_judged(tmp_path: Path) -> None:
    facts = gather_facts(tmp_path, lambda arguments: ProgramResult(None, "", "no such program"))
    checks = {check.name: check for check in check_machine(facts)}
    assert facts.kind == "other"
    assert checks["board"].found.startswith("unknown")
    assert checks["LiteRT"].status == "fail"
    assert all("None" not in check.found for check in checks.values())


@pytest.mark.parametrize("board", NAMES)
@pytest.mark.parametrize("rubbish", ["", "\0\xff", "{}", "[1]", '{"version": 3}', "-1 -1 x:\n" * 9])
def test_rubbish_from_every_file_and_program_is_judged(
    board: str, rubbish: str, tmp_path: Path
) -> None:
    root = copy_board(board, tmp_path)
    for path in root.rglob("*"):
        if path.is_file() and path.name not in ("model", "commands.json"):
            path.write_text(rubbish)
    for code in (0, 1, -11, None):
        facts = gather_facts(root, lambda arguments: ProgramResult(code, rubbish, rubbish))  # noqa: B023
        assert check_machine(facts)


def test_kinds_are_told_apart(tmp_path: Path) -> None:
    kinds = {name: look_at(BOARDS / name).kind for name in NAMES}
    assert [name for name, kind in kinds.items() if kind == "jetson"] == list(NAMES[4:])
    container = {"etc/nv_tegra_release": "# R36 (release), REVISION: 4.3,\n"}
    assert look_at(tmp_path, container).kind == "jetson"


@pytest.mark.parametrize(
    "release, jetpack", [(28, 3), (32, 4), (35, 5), (36, 6), (38, 7), (1000, 7)]
)
def test_jetpack_is_known_by_its_l4t(release: int, jetpack: int, tmp_path: Path) -> None:
    line = {"etc/nv_tegra_release": f"# R{release} (release), REVISION: 2.0, GCID: 1\n"}
    assert look_at(tmp_path, line).jetpack_major == jetpack


def test_a_busy_camera_is_not_passed_over() -> None:
    device = {"path": "/dev/video0", "name": "USB", "captures": False}
    busy = {"devices": [{**device, "problem": "Device or resource busy"}]}
    facts = look_at(BOARDS / "pi-3", commands={f"{PROBE} devices": busy})
    (check,) = [check for check in check_machine(facts) if check.name == "cameras"]
    assert check.status == "fail"
    assert check.found == "/dev/video0 (USB) does not work: Device or resource busy"


def test_image_processors_and_ribbon_cameras_are_not_opened() -> None:
    opened = [camera.path for camera in look_at(BOARDS / "pi-5").cameras if camera.size]
    assert opened == ["/dev/video8"]


def test_an_absent_program_is_an_answer() -> None:
    answer = run_command(["edgekit-no-such-program", "-q"])
    assert answer == ProgramResult(None, "", "edgekit-no-such-program: No such file or directory")


def test_a_hanging_program_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "_TOOL_TIMEOUT_S", 0.3)
    began = time.monotonic()
    answer = run_command([sys.executable, "-c", "import time; time.sleep(60)"])
    assert answer == ProgramResult(None, "", "no answer within 0.3 s")
    assert time.monotonic() - began < 5


def test_a_crash_is_named_by_its_signal() -> None:
    answer = run_command([sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"])
    assert explain(answer) == "crashed with SIGSEGV"


def test_a_package_that_raises_anything_is_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise KeyError('broken')\n")
    monkeypatch.syspath_prepend(tmp_path)
    answer = run_command([PROBE, "numpy"])
    assert (answer.code, explain(answer)) == (1, "KeyError: 'broken'")


def test_a_package_that_prints_does_not_hide_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnxruntime.py").write_text("print('hello', end='')\n__version__ = '9.1'\n")
    monkeypatch.syspath_prepend(tmp_path)
    facts = gather_facts(
        tmp_path, lambda a: run_command(a) if a[0] == PROBE else ProgramResult(1, "", "")
    )
    assert facts.onnxruntime.version == "9.1"
    assert facts.delegate.delegate == "XNNPACK"


def test_doctor_itself_imports_nothing_that_may_be_broken() -> None:
    program = (
        "import sys; from edgekit.doctor.facts import gather_facts;"
        " from edgekit.doctor.checks import check_machine; check_machine(gather_facts());"
        " print([n for n in ('numpy', 'cv2', 'torch', 'ai_edge_litert') if n in sys.modules])"
    )
    answer = run_command([sys.executable, "-c", program])
    assert (answer.code, answer.out) == (0, "[]\n"), answer.err


def test_what_the_kernels_file_has_forgotten(tmp_path: Path) -> None:
    """Its driver clears the marks of what was earlier; the firmware's own program keeps them."""
    kernel = "sys/devices/platform/soc/soc:firmware/get_throttled"
    root = copy_board("pi-4", tmp_path)
    facts = look_at(root, {kernel: "0\n"}, {THROTTLED: "throttled=0x50000\n"})
    assert facts.throttled == 0x50000 and facts.marked_span == "since the board started"
    facts = look_at(root, {kernel: "4\n"}, {THROTTLED: None})
    assert facts.throttled == 4 and facts.marked_span == "in the last seconds"
    assert check_by_name(facts)["power supply"].found == "no under-voltage in the last seconds"


def test_the_agx_xaviers_own_name(tmp_path: Path) -> None:
    root = copy_board("orin-agx", tmp_path)
    files = {"proc/device-tree/model": "Jetson-AGX\0", RELEASE: "# R35 (release), REVISION: 4.1,\n"}
    assert "the board's last" in check_by_name(look_at(root, files))["JetPack"].found


def test_commands_are_quoted(tmp_path: Path) -> None:
    python = {"executable": "/home/pi/my env/bin/python"}
    facts = look_at(copy_board("pi-4", tmp_path), commands={PYTHON: python})
    assert facts.pip == "'/home/pi/my env/bin/python' -m pip"
    folder = "'/home/pi/my env'"
    assert facts.remake_environment.startswith(
        f"python3 -m venv --clear --system-site-packages {folder} && {folder}/bin/pip install"
    )
