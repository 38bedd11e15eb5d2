"""A bare installation of the wheel: nothing heavy loads before a command needs it."""

from __future__ import annotations

import pytest

from edgekit.cli import COMMANDS
from tests.packaging.conftest import Installation
from tests.packaging.floor_plan import read_floor_plan

HEAVY = read_floor_plan().workbench_libraries | {
    "ai_edge_litert",
    "cv2",
    "numpy",
    "onnxruntime",
    "rich",
}


def loaded_modules(installation: Installation, *args: str) -> set[str]:
    """The top-level modules that `python -X importtime ARGS` loads."""
    report = installation.run("-X", "importtime", *args).stderr
    lines = [line for line in report.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def test_bare_installation_lacks_the_extras(bare_installation: Installation) -> None:
    program = "import importlib.util as u; print([n for n in ('torch', 'cv2') if u.find_spec(n)])"
    assert bare_installation.run("-c", program).stdout.strip() == "[]"


def test_import_edgekit_is_light(bare_installation: Installation) -> None:
    loaded = loaded_modules(bare_installation, "-c", "import edgekit")
    assert "edgekit" in loaded
    assert not loaded & HEAVY


def test_help_is_light(bare_installation: Installation) -> None:
    loaded = loaded_modules(bare_installation, "-m", "edgekit", "--help")
    assert "click" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(bare_installation: Installation, command: str) -> None:
    result = bare_installation.run("-m", "edgekit", command, "--help")
    assert f"edgekit {command}" in result.stdout
    loaded = loaded_modules(bare_installation, "-m", "edgekit", command, "--help")
    assert not loaded & HEAVY


def test_shipped_data_is_found(bare_installation: Installation) -> None:
    program = "from edgekit.resources import resource; print(resource('calibration/README.md'))"
    found = bare_installation.run("-c", program).stdout.strip()
    assert found.endswith("edgekit/_data/calibration/README.md")
