"""Checkpoint files open or are refused with a message, and nothing in them is run."""

from __future__ import annotations

import argparse
import collections
import datetime
import decimal
import json
import os
import pathlib
import pickle
import struct
import uuid
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgekit.checkpoint import load_checkpoint
from edgekit.checkpoint.open import open_checkpoint
from edgekit.errors import CheckpointError
from edgekit.models import FAMILIES


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return FAMILIES["mobilenet_v1"].build(0.25, classes=3).state_dict()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("mobilenet_v1_0.25_224_imagenet.pth.tar", "PyTorch legacy pickle"),
        ("mobilenet_v1_0.5_160_tfsame.pth", "PyTorch zip"),
        ("mobilenet_v2_1.0_224_tfsame.pth", "PyTorch zip"),
    ],
)
def test_real_files_open(test_data: Path, name: str, kind: str) -> None:
    assert open_checkpoint(test_data / "checkpoints" / name).kind == kind


def test_safetensors(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "model.safetensors"
    save_file(weights, path)
    checkpoint = load_checkpoint(path)
    assert checkpoint.file_kind == "safetensors"
    assert checkpoint.spec.classes == 3
    assert checkpoint.sha256 is not None
    assert len(checkpoint.sha256) == 64


def test_of_objects_beside_the_weights_only_plain_settings_are_kept(
    tmp_path: Path, weights: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "model.pth"
    settings = {
        "args": argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("runs"), model="v2"),
        "folder": pathlib.PosixPath("runs"),
        "best": np.float64(71.2),
        "kind": np.dtype("float32"),
        "history": np.arange(3.0),
        "meters": collections.defaultdict(list, {"loss": [1.0]}),
        "order": collections.OrderedDict(a=1),
        "saved": datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc),
        "day": datetime.date(2026, 1, 2),
        "last": collections.deque([1.0], 5),
        "run": uuid.UUID(int=3),
        "rate": decimal.Decimal("0.1"),
        "frozen": frozenset([1]),
        "range": range(3),
    }
    torch.save({"state_dict": weights, **settings}, path)
    content = open_checkpoint(path).content
    assert not isinstance(content["args"], argparse.Namespace)
    assert not hasattr(content["args"], "lr")
    assert content["args"].values == {"lr": 0.1, "model": "v2"}
    assert not isinstance(content["best"], np.generic)
    assert content["order"] == {"a": 1}
    assert load_checkpoint(path).container == "state_dict"


class RunsCode:
    """Unpickling it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_pickle_is_named_and_never_run(
    tmp_path: Path, weights: dict[str, torch.Tensor], legacy: bool
) -> None:
    path, folder = tmp_path / "model.pth", tmp_path / "made"
    torch.save(
        {"state_dict": weights, "extra": RunsCode(folder)},
        path,
        _use_new_zipfile_serialization=not legacy,
    )
    with pytest.raises(
        CheckpointError, match=r"holds the Python object posix\.mkdir.*state_dict\(\)"
    ):
        load_checkpoint(path)
    assert not folder.exists()


def test_plain_pickle_with_code_is_refused(tmp_path: Path) -> None:
    path, folder = tmp_path / "model.pkl", tmp_path / "made"
    path.write_bytes(pickle.dumps(RunsCode(folder)))
    with pytest.raises(CheckpointError, match=r"that torch.save did not write"):
        load_checkpoint(path)
    assert not folder.exists()


def test_whole_module_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(nn.Sequential(nn.Linear(2, 2)), path)
    with pytest.raises(
        CheckpointError, match=r"torch\.nn\.modules\.container\.Sequential.*save the weights alone"
    ):
        load_checkpoint(path)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), path)
    with pytest.raises(CheckpointError, match="is a TorchScript program, not a checkpoint"):
        load_checkpoint(path)


@pytest.mark.parametrize("part", [0.2, 0.9, 0.999])
@pytest.mark.parametrize("legacy", [False, True])
def test_truncated_file(
    tmp_path: Path, weights: dict[str, torch.Tensor], legacy: bool, part: float
) -> None:
    path = tmp_path / "model.pth"
    torch.save(weights, path, _use_new_zipfile_serialization=not legacy)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(CheckpointError, match="damaged or truncated checkpoint"):
        load_checkpoint(path)


def test_truncated_safetensors(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "model.safetensors"
    save_file(weights, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="is a damaged safetensors file"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        (b"\x89HDF\r\n\x1a\n", "is a Keras or TensorFlow model: convert it with tf.lite"),
        (b"\x1f\x8b\x08\x00", "is gzip-compressed"),
        (b"\x80", "is a Python pickle"),
        (b"BZh91AY", r"is bzip2-compressed \(unpack it first\)"),
        (b"weights.pth".ljust(257, b"\0") + b"ustar", r"is a tar archive \(unpack it first\)"),
        (b"\x93NUMPY\x01\x00", "is a NumPy array, not a PyTorch checkpoint"),
        (b"\x20\x00\x00\x00TFL3", "is a TFLite model, converted already: edgekit run"),
        (b"hello", r"is an unknown kind of file \(first bytes 68 65 6c 6c 6f\)"),
        (b"PK\x03\x04rubbish", "its zip directory is missing or wrong"),
        (struct.pack("<Q", 40) + json.dumps({"a": 1}).encode(), "damaged safetensors file"),
    ],
)
def test_junk_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as raised:
        load_checkpoint(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_flipped_bytes_fail_in_one_line_or_not_at_all(
    tmp_path: Path, weights: dict[str, torch.Tensor], kind: str
) -> None:
    """60 files with damage near either end, where names and offsets are stored."""
    from safetensors.torch import save_file

    path = tmp_path / "model.pth"
    if kind == "safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=kind == "zip")
    content = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(content)
        for position in random.integers(-4000, 4000, size=5):
            damaged[position] = random.integers(256)
        path.write_bytes(damaged)
        try:
            load_checkpoint(path)
        except CheckpointError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (["photo.jpg"], r"no data\.pkl, first member 'photo\.jpg'"),
        (["readme.txt", "run/best.pth"], r"is a zip archive: unpack it, and give best\.pth"),
        (["conv.weight.npy", "fc.bias.npy"], r"is a file of NumPy arrays: .*from_numpy"),
        ([], "first member 'none'"),
    ],
)
def test_zip_of_something_else(tmp_path: Path, members: list[str], message: str) -> None:
    path = tmp_path / "model.pth"
    with zipfile.ZipFile(path, "w") as archive:
        for name in members:
            archive.writestr(name, b"")
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nope\.pth does not exist"):
        load_checkpoint(tmp_path / "nope.pth")
    with pytest.raises(CheckpointError, match="is a folder: expected a checkpoint file"):
        load_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"give the checkpoint in it, as .*model\.safetens"):
        load_checkpoint(tmp_path)


def test_device_is_refused() -> None:
    with pytest.raises(CheckpointError, match="is a device or pipe"):
        load_checkpoint("/dev/zero")


@pytest.mark.parametrize("protocol", [2, 4])
def test_refuses_a_pickle_that_torch_did_not_write(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "plain.pth"
    path.write_bytes(pickle.dumps({"state_dict": Path("x")}, protocol=protocol))
    message = rf"pickle \(protocol {protocol}\) that torch.save did not"
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(path)


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_newer_pickle_protocol_is_named(
    tmp_path: Path, weights: dict[str, torch.Tensor], *, is_zip: bool
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(weights, path, pickle_protocol=4, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(CheckpointError, match=r"in pickle protocol 4.*leave pickle_protocol out"):
        open_checkpoint(path)
