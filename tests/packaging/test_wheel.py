"""What the wheel holds and says of itself."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from edgekit import __version__
from tests.environments import REPOSITORY, read_metadata, wheel_requirements

PI_64 = {"platform_machine": "aarch64", "python_version": "3.13"}
PI_32 = {"platform_machine": "armv7l", "python_version": "3.11"}
DEVICE_REQUIREMENTS = {"click", "rich", "msgspec", "numpy", "pillow"}


@pytest.fixture(scope="module")
def files(edgekit_wheel: Path) -> set[str]:
    with zipfile.ZipFile(edgekit_wheel) as archive:
        return set(archive.namelist())


def test_top_level_is_edgekit_alone(files: set[str]) -> None:
    assert {name.partition("/")[0] for name in files} == {
        "edgekit",
        f"edgekit-{__version__}.dist-info",
    }


def test_every_module_is_there(files: set[str]) -> None:
    expected = {
        path.relative_to(REPOSITORY).as_posix()
        for path in (REPOSITORY / "edgekit").rglob("*.py")
        if "_data" not in path.parts
    }
    assert expected <= files
    assert "edgekit/py.typed" in files


@pytest.mark.parametrize("folder", ["calibration", "deploy"])
def test_shipped_data_is_there(files: set[str], folder: str) -> None:
    expected = {
        f"edgekit/_data/{path.relative_to(REPOSITORY).as_posix()}"
        for path in (REPOSITORY / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected
    assert expected == {name for name in files if name.startswith(f"edgekit/_data/{folder}/")}


def test_nothing_compiled_or_hidden(files: set[str]) -> None:
    stray = [name for name in files if name.endswith((".pyc", ".so")) or "/." in name]
    assert stray == []


def test_metadata(edgekit_wheel: Path) -> None:
    metadata = read_metadata(edgekit_wheel)
    assert metadata["Version"] == [__version__]
    assert metadata["Requires-Python"] == [">=3.10"]
    assert metadata["License-Expression"] == ["Apache-2.0"]
    assert {"opencv", "convert"} <= set(metadata["Provides-Extra"])


@pytest.mark.parametrize(
    ("environment", "runtime"),
    [
        (PI_64, "ai-edge-litert"),
        (PI_32, "tflite-runtime"),
        ({**PI_32, "python_version": "3.13"}, None),
    ],
)
def test_requirements_on_a_board(
    edgekit_wheel: Path, environment: dict[str, str], runtime: str | None
) -> None:
    requirements = wheel_requirements(edgekit_wheel, environment)
    names = {Requirement(text).name for text in requirements}
    assert names == DEVICE_REQUIREMENTS | ({runtime} if runtime else set())


def test_tflite_runtime_gets_an_old_numpy(edgekit_wheel: Path) -> None:
    numpy = [text for text in wheel_requirements(edgekit_wheel, PI_32) if "numpy" in text]
    assert numpy == ["numpy<2,>=1.23"]
