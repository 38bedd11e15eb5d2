"""`edgekit convert` as a user starts it: the bundle, what is refused, and interruptions."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from edgekit.bundle import open_bundle
from tests.cli.conftest import Outcome, assert_refused
from tests.conversion.conversions import (
    convert_small,
    small_checkpoint,
    small_images,
    workspace,
)
from tests.environments import REPOSITORY
from tests.quantize.nets import write_images


def arguments(**changes: Any) -> list[object]:
    """A conversion that works, but for `changes`; None leaves an option out."""
    options: dict[str, Any] = {
        "calibration": small_images(),
        "input_size": 64,
        "output": "out.edgekit",
    }
    checkpoint = changes.pop("checkpoint", small_checkpoint())
    words: list[object] = ["convert", checkpoint, "--json"]
    for name, value in (options | changes).items():
        if value is not None:
            words += [f"--{name.replace('_', '-')}", value]
    return words


class Dangerous:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("pwned",)


def save(path: Path, content: object) -> Path:
    torch.save(content, path, pickle_protocol=2)
    return path


def test_a_checkpoint_that_needs_code(edgekit: Callable[..., Outcome], tmp_path: Path) -> None:
    path = save(workspace() / "code.pth", {"state_dict": Dangerous()})
    assert_refused(edgekit(*arguments(checkpoint=path)), "code.pth", "could run code", "save the")
    bare = workspace() / "bare.pkl"
    bare.write_bytes(pickle.dumps(Dangerous()))
    assert_refused(edgekit(*arguments(checkpoint=bare)), "bare.pkl")
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_checkpoint(edgekit: Callable[..., Outcome], tmp_path: Path) -> None:
    path = workspace() / "half.pth"
    content = small_checkpoint().read_bytes()
    path.write_bytes(content[: len(content) // 2])
    outcome = edgekit(*arguments(checkpoint=path))
    assert_refused(outcome, "half.pth is a damaged or truncated checkpoint", "download it again")
    assert_refused(edgekit(*arguments(checkpoint="nope.pth")), "nope.pth does not exist")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_another_network(edgekit: Callable[..., Outcome], tmp_path: Path) -> None:
    resnet = {
        "conv1.weight": torch.zeros(64, 3, 7, 7),
        "layer1.0.conv1.weight": torch.zeros(64, 64, 3, 3),
        "layer1.0.bn1.weight": torch.zeros(64),
        "fc.weight": torch.zeros(1000, 512),
        "fc.bias": torch.zeros(1000),
    }
    path = save(workspace() / "resnet.pth", resnet)
    assert_refused(edgekit(*arguments(checkpoint=path)), "resnet.pth")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("a\nb\nc\n", ["3 class names do not fit the 10 classes", "one name a line"]),
        ("\n\n", ["is empty: expected one class name a line"]),
        (None, ["cannot read class names", "No such file"]),
    ],
)
def test_class_names_that_do_not_fit(
    edgekit: Callable[..., Outcome], tmp_path: Path, names: str | None, words: list[str]
) -> None:
    path = workspace() / "names.txt"
    path.unlink(missing_ok=True)
    if names is not None:
        path.write_text(names)
    assert_refused(edgekit(*arguments(class_names=path)), *words)
    assert list(tmp_path.iterdir()) == []


def test_calibration_that_will_not_do(
    edgekit: Callable[..., Outcome], tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    folder = tmp_path_factory.mktemp("calibration")
    assert_refused(edgekit(*arguments(calibration=folder)), "holds 0 images: expected at least 32")
    write_images(folder, 31)
    assert_refused(edgekit(*arguments(calibration=folder)), "holds 31 images: expected at least 32")
    for index in range(31, 40):
        shutil.copy(folder / "000.png", folder / f"{index:03}.png")
    (folder / "005.png").write_bytes(b"no image")
    outcome = edgekit(*arguments(calibration=folder), "--strict")
    assert_refused(outcome, "005.png (8 bytes) cannot be decoded")
    for path in folder.glob("*.png"):
        shutil.copy(small_images() / "000.png", path)
    assert_refused(edgekit(*arguments(calibration=folder)), "are all alike", "different scenes")
    missing = folder / "nowhere"
    assert_refused(edgekit(*arguments(calibration=missing)), "nowhere is not a folder of images")
    assert list(tmp_path.iterdir()) == []


def test_int8_without_images_is_refused(edgekit: Callable[..., Outcome], tmp_path: Path) -> None:
    outcome = edgekit(*arguments(calibration=None))
    assert_refused(outcome, "int8 needs images to calibrate on", "add --calibration DIR")
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written(edgekit: Callable[..., Outcome], tmp_path: Path) -> None:
    began = time.monotonic()
    outcome = edgekit(*arguments(output="no/out.edgekit"))
    assert_refused(outcome, "the folder no does not exist: create it first")
    assert_refused(edgekit(*arguments(output=tmp_path)), "it is a folder: choose another name")
    assert_refused(edgekit(*arguments(output="/proc/out.edgekit")), "cannot write /proc/out.edge")
    assert time.monotonic() - began < 20  # before the work, not after it
    assert list(tmp_path.iterdir()) == []


def test_devices_are_refused(edgekit: Callable[..., Outcome]) -> None:
    assert_refused(edgekit(*arguments(output="/dev/null")), "not a regular file: choose another")


def test_unknown_recipes(edgekit: Callable[..., Outcome], tmp_path: Path) -> None:
    outcome = edgekit(*arguments(recipe="best"))
    assert_refused(outcome, "there is no recipe 'best': expected one of accurate, balanced, fast")
    path = workspace() / "wrong.toml"
    path.write_text('name = "x"\nrounds = 3\n')
    assert_refused(edgekit(*arguments(recipe=path)), "wrong.toml", "unknown field `rounds`")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["convert", "--target", "tpu"],
        ["convert", "--precision", "int4"],
        ["convert", "--input-size", "7"],
        ["convert", "--nonsense"],
        ["convert", "a.pth", "b.pth"],
        ["nonsense"],
    ],
)
def test_usage_errors_exit_2(edgekit: Callable[..., Outcome], words: list[str]) -> None:
    code, output, error = edgekit(*words)
    assert (code, output) == (2, "")
    assert "Error: " in error


def test_full_temporary_folder(edgekit: Callable[..., Outcome], tmp_path: Path) -> None:
    """The worker's files lie in TMPDIR, which on boards is often small."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a tmpfs cannot be mounted here: run as root, outside a restricted container")
    try:
        result = subprocess.run(
            [sys.executable, "-m", "edgekit", *map(str, arguments())],
            env=os.environ | {"TMPDIR": str(disk), "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
        )
        outcome = (result.returncode, result.stdout, result.stderr)
        assert_refused(outcome, "cannot write temporary files: No space left", "TMPDIR")
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
    assert not (tmp_path / "out.edgekit").exists()


@pytest.mark.slow
def test_json_is_one_document(edgekit: Callable[..., Outcome], tmp_path: Path) -> None:
    """With class names that end in blank lines, and a name of its own for the bundle."""
    names = workspace() / "ten.txt"
    names.write_text("".join(f"name {index}\n" for index in range(10)) + "\n  \n")
    checkpoint = workspace() / "model_v1.5.pth.tar"
    shutil.copy(small_checkpoint(), checkpoint)
    code, output, error = edgekit(
        *arguments(checkpoint=checkpoint, output=None, class_names=names, recipe="fast"),
        "--no-reference",
    )
    assert (code, error) == (0, "")
    assert output.count("\n") == 1
    document = json.loads(output)
    stable = {"bundle", "target", "precision", "size_bytes", "parity", "seconds"}
    assert stable <= set(document)
    assert set(document["parity"]) == {"agreement", "sqnr_db", "images"}
    assert document["bundle"] == "model_v1.5-pi.edgekit"
    assert (document["target"], document["precision"]) == ("pi", "int8")
    bundle = open_bundle(tmp_path / "model_v1.5-pi.edgekit")
    assert document["size_bytes"] == bundle.size_bytes
    assert bundle.class_names == tuple(f"name {index}" for index in range(10))
    assert bundle.manifest.recipe["name"] == "fast"
    assert bundle.reference is None
    assert [path.name for path in tmp_path.iterdir()] == ["model_v1.5-pi.edgekit"]


class Interrupted:
    """A conversion in a session of its own, to be ended from outside while its workers run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        words = [word for word in arguments() if word != "--json"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edgekit", *map(str, words)],
            cwd=folder,
            env=os.environ | {"TMPDIR": str(self.temporary), "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for(self, step: str) -> None:
        """Until `step` is done, so that what follows it is under way."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if step in line:
                return
        raise AssertionError(f"{step!r} never came")

    def living(self) -> list[int]:
        """Processes of its session, zombies left out."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, _, session = stat.read_text().rpartition(") ")[2].split()[:4]
            except OSError:
                continue  # it ended meanwhile
            if int(session) == self.process.pid and state != "Z":
                found.append(int(stat.parent.name))
        return found


@pytest.fixture
def conversion(tmp_path: Path) -> Iterator[Interrupted]:
    shutil.copy(convert_small("fp32").conversion.bundle, tmp_path / "out.edgekit")
    started = Interrupted(tmp_path)
    yield started
    for process in started.living():
        os.kill(process, signal.SIGKILL)
    started.process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "whole_group"),
    [("exporting", True), ("calibrating", False)],
    ids=["key press while calibrating", "signal while writing"],
)
def test_ctrl_c(conversion: Interrupted, step: str, whole_group: bool) -> None:
    conversion.wait_for(step)
    assert len(conversion.living()) == 3
    if whole_group:  # a terminal sends it to the workers too
        os.killpg(conversion.process.pid, signal.SIGINT)
    else:
        conversion.process.send_signal(signal.SIGINT)
    output, error = conversion.process.communicate(timeout=30)
    assert conversion.process.returncode == 130
    assert output == ""
    assert error.splitlines()[-1] == "edgekit: interrupted"
    assert "Traceback" not in error
    assert conversion.living() == []
    assert_old_bundle_alone(conversion)
    assert list(conversion.temporary.iterdir()) == []


@pytest.mark.slow
def test_a_killed_conversion_leaves_the_old_bundle(conversion: Interrupted) -> None:
    conversion.wait_for("exporting")
    conversion.process.kill()
    conversion.process.wait(timeout=30)
    assert_old_bundle_alone(conversion)


def assert_old_bundle_alone(conversion: Interrupted) -> None:
    assert sorted(path.name for path in conversion.folder.iterdir()) == ["out.edgekit", "tmp"]
    assert open_bundle(conversion.folder / "out.edgekit").manifest.precision == "fp32"
