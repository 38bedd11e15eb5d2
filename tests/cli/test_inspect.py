"""`edgekit inspect` on checkpoints; bundles and model files are in `runtime.inspect_model`."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from edgekit.checkpoint import load_checkpoint
from edgekit.cli.inspect import CHANGED_BY, command, is_model_file
from edgekit.errors import CheckpointError, ModelFileError, SettingsError
from edgekit.models import FAMILIES
from edgekit.spec import CheckpointFlags
from tests.checkpoint.exported_files import SIZE, build_classifier, export


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoint") / "model.pth"
    torch.save({"model": FAMILIES["mobilenet_v1"].build(0.25, classes=10).state_dict()}, path)
    return path


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_json_keys(checkpoint: Path) -> None:
    document: dict[str, Any] = json.loads(run(checkpoint, "--json", "--input-size", "96"))
    stable = {
        "kind": "checkpoint",
        "family": "mobilenet_v1",
        "width": 0.25,
        "input_size": "96x96",
        "color": "RGB",
        "classes": 10,
        "parameters": 215_642,
        "multiply_adds": (41_030_272 - 256_000) * 96**2 // 224**2 + 256 * 10,
        "normalization": "imagenet",
    }
    assert {key: document[key] for key in stable} == stable
    assert (document["layout"], document["container"]) == ("edgekit", "model")
    assert "input_size" not in document["defaults"]
    assert {"activation", "padding", "normalization"} <= set(document["defaults"])
    assert document["origins"]["width"] == {"from": "tensors", "changed_by": "--width"}
    assert document["origins"]["padding"] == {"from": "default", "changed_by": "--padding"}
    assert "layers of the trunk, named as in" in document["recognized_by"]


def test_text_marks_defaults(checkpoint: Path) -> None:
    text = run(checkpoint, "--padding", "same")
    rows = dict(line.rstrip().split("  ", 1) for line in text.splitlines())
    rows = {name: value.strip() for name, value in rows.items()}
    assert rows["input size"] == "224x224 (default), --input-size"
    assert rows["activation"] == "relu (default), --activation"
    assert rows["padding"] == "same"
    assert rows["parameters"] == "215,642"
    assert len(rows["sha256"]) == 64


def test_real_checkpoint(test_data: Path) -> None:
    path = test_data / "checkpoints" / "mobilenet_v1_0.25_224_imagenet.pth.tar"
    document = json.loads(run(path, "--json"))
    assert (document["family"], document["width"]) == ("mobilenet_v1", 0.25)
    assert (document["parameters"], document["multiply_adds"]) == (470_072, 41_030_272)


def test_exported_program(tmp_path: Path) -> None:
    path = export(build_classifier(), tmp_path / "net.pt2")
    document: dict[str, Any] = json.loads(run(path, "--json"))
    facts = ("kind", "family", "width", "input_size", "classes", "file_kind")
    expected = ("checkpoint", "exported", 1.0, f"{SIZE}x{SIZE}", 5, "torch.export program")
    assert tuple(document[name] for name in facts) == expected
    assert document["defaults"] == ["normalization", "resize", "scores"]
    with pytest.raises(SettingsError, match="--padding same does not go with"):
        run(path, "--padding", "same")


def test_model_files_are_told_by_content(tmp_path: Path, checkpoint: Path) -> None:
    tflite, onnx, bundle = (tmp_path / name for name in ("a.bin", "b.onnx", "c.zip"))
    tflite.write_bytes(b"\x1c\x00\x00\x00TFL3")
    onnx.write_bytes(b"\x08\x08")
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.writestr("manifest.json", "{}")
    assert [is_model_file(path) for path in (tflite, onnx, bundle)] == [True] * 3
    assert not is_model_file(checkpoint)
    assert not is_model_file(tmp_path)


def test_failures_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"nope\.pth does not exist"):
        run(tmp_path / "nope.pth")
    with pytest.raises(CheckpointError, match="is a folder"):
        run(tmp_path)
    result = subprocess.run(
        [sys.executable, "-m", "edgekit", "inspect", str(tmp_path / "nope.pth")],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("edgekit: ")


def test_missing_pytorch_is_said_in_one_line(checkpoint: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None; sys.argv[0] = 'edgekit'\n"
        "from edgekit.cli import main; main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, "inspect", str(checkpoint)], capture_output=True, text=True
    )
    assert result.returncode == 1
    assert result.stderr == (
        "edgekit: PyTorch is not installed, and checkpoints need it:"
        " pip install 'edgekit[convert]'\n"
    )


def test_every_value_but_the_classes_has_an_option() -> None:
    """The number of classes is that of the tensors; for all else an option is named."""
    weights = FAMILIES["mobilenet_v2"].build(0.35, classes=1).state_dict()
    checkpoint = load_checkpoint(weights, CheckpointFlags(scores="sigmoid"))
    assert set(checkpoint.origins) - set(CHANGED_BY) == {"classes"}
