"""Makes `.pt2` files for tests: exports modules, and changes the members of the files."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIZE = 32
ONE_IMAGE = (torch.zeros(1, 3, SIZE, SIZE),)
ANY_BATCH = ({0: torch.export.Dim.DYNAMIC},)


class Classifier(nn.Module):
    """A convolution, a branch, a constant and a buffer; flattens with the batch size in words."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8, eps=1e-3)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(8, classes)
        self.register_buffer("scale", torch.linspace(0.5, 2, 8).reshape(1, 8, 1, 1))
        self.gain = torch.tensor([1.5])

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu6(self.norm(self.conv(images)))
        left, right = x.chunk(2, dim=1)
        x = torch.cat([right, left], dim=1) * self.scale * self.gain
        x, _ = x.reshape(x.size(0), 8, -1).max(dim=2)
        logits: Tensor = self.head(self.drop(x.view(x.shape[0], -1)))
        return logits


def build_classifier() -> Classifier:
    """Make a classifier in eval mode whose batch norm has random statistics."""
    torch.manual_seed(0)
    network = Classifier().eval()
    nn.init.normal_(network.norm.running_mean, std=0.3)
    nn.init.uniform_(network.norm.running_var, 0.5, 2)
    return network


def export(
    network: nn.Module,
    path: Path,
    inputs: tuple[Any, ...] = ONE_IMAGE,
    dynamic_shapes: Any = None,
) -> Path:
    """Export as a user does; the batch of an example that is not 1 may be dynamic."""
    if dynamic_shapes is not None:
        inputs = (torch.zeros(2, 3, SIZE, SIZE),)
    torch.export.save(torch.export.export(network, inputs, dynamic_shapes=dynamic_shapes), path)
    return path


def export_like_2_6(network: nn.Module, path: Path) -> Path:
    """A flat zip with pickled weights, as PyTorch 2.6 and 2.7 wrote."""
    from torch._export.serde.serialize import serialize

    artifact = serialize(torch.export.export(network, ONE_IMAGE))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("serialized_exported_program.json", artifact.exported_program)
        archive.writestr("serialized_state_dict.pt", artifact.state_dict)
        archive.writestr("serialized_constants.pt", artifact.constants)
        archive.writestr("serialized_example_inputs.pt", artifact.example_inputs)
        archive.writestr("version", "8.2")
    return path


def export_like_2_8(network: nn.Module, path: Path) -> Path:
    """An archive with pickled weights, as PyTorch 2.8 wrote."""
    from torch._export.serde.serialize import serialize

    artifact = serialize(torch.export.export(network, ONE_IMAGE))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/archive_format", "pt2")
        archive.writestr("net/archive_version", "0")
        archive.writestr("net/models/model.json", artifact.exported_program)
        archive.writestr("net/data/weights/model.pt", artifact.state_dict)
        archive.writestr("net/data/constants/model.pt", artifact.constants)
        archive.writestr("net/data/sample_inputs/model.pt", artifact.example_inputs)
    return path


def change(source: Path, target: Path, members: Mapping[str, bytes | None]) -> Path:
    """Copy the file with other content in `members`; None leaves one out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        root = old.namelist()[0].partition("/")[0]
        content: dict[str, bytes | None] = {name: old.read(name) for name in old.namelist()}
        content |= {f"{root}/{name}": value for name, value in members.items()}
        for name, value in content.items():
            if value is not None:
                new.writestr(name, value)
    return target


def change_json(
    source: Path, target: Path, edit: Callable[[Any], None], member: str = "models/model.json"
) -> Path:
    """Copy the file and change its JSON `member` with `edit`."""
    with zipfile.ZipFile(source) as archive:
        root = archive.namelist()[0].partition("/")[0]
        document = json.loads(archive.read(f"{root}/{member}"))
    edit(document)
    return change(source, target, {member: json.dumps(document).encode()})
