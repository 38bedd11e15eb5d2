"""A softmax or sigmoid at a network's end is found, taken off, and said in the spec."""

from __future__ import annotations

import copy
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgekit.checkpoint import Checkpoint, load_checkpoint
from edgekit.errors import SettingsError
from edgekit.models import FAMILIES
from edgekit.spec import CheckpointFlags
from tests.checkpoint.exported_files import SIZE, export

IMAGES = torch.randn(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """A small network that ends in `end`."""

    def __init__(self, outputs: int, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=2)
        self.head = nn.Linear(6, outputs)
        self.end = end

    def logits(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(F.relu(self.conv(images)).mean((2, 3)))
        return logits

    def forward(self, images: Tensor) -> Tensor:
        return self.end(self.logits(images))


def make_net(outputs: int, end: Callable[[Tensor], Tensor]) -> Net:
    torch.manual_seed(0)
    return Net(outputs, end).eval()


ENDS: dict[str, tuple[int, str, Callable[[Tensor], Tensor]]] = {
    "softmax": (4, "softmax", lambda x: F.softmax(x, dim=1)),
    "softmax of the last axis": (4, "softmax", lambda x: x.softmax(-1)),
    "softmax with a temperature": (4, "softmax", lambda x: F.softmax(x / 2, 1)),
    "softmax before a flattening": (
        4,
        "softmax",
        lambda x: F.softmax(x[:, :, None, None], 1).flatten(1),
    ),
    "log-softmax": (4, "softmax", lambda x: F.log_softmax(x, dim=1)),
    "one sigmoid": (1, "sigmoid", torch.sigmoid),
    "a sigmoid in place": (1, "sigmoid", lambda x: x.sigmoid_()),
    "several sigmoids": (4, "multilabel", torch.sigmoid),
}
"""By name: outputs, what they mean, the network's end."""


def load_program(folder: Path, net: Net, flags: CheckpointFlags | None = None) -> Checkpoint:
    return load_checkpoint(export(net, folder / "net.pt2"), flags)


def load_code(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    net: nn.Module,
    flags: CheckpointFlags | None = None,
) -> Checkpoint:
    """The same network as weights with the user's own code."""
    code = types.ModuleType("own_scores")
    code.build = lambda: copy.deepcopy(net)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_scores", code)
    monkeypatch.chdir(folder)
    own = CheckpointFlags(arch="own_scores:build", input_size=SIZE)
    given = (flags or CheckpointFlags()).fill({"arch": own.arch, "input_size": SIZE})
    return load_checkpoint(net.state_dict(), given)


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("kind", ["program", "code"])
def test_the_end_is_taken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    """Softmax or sigmoid inside the network: it is computed once, on every board, from logits."""
    outputs, meaning, end = ENDS[name]
    net = make_net(outputs, end)
    checkpoint = (
        load_program(tmp_path, net) if kind == "program" else load_code(tmp_path, monkeypatch, net)
    )
    assert (checkpoint.spec.scores, checkpoint.spec.outputs) == (meaning, outputs)
    assert checkpoint.origins["scores"] == "network"
    seen = checkpoint.module(IMAGES)
    scores = seen.softmax(1) if meaning == "softmax" else seen.sigmoid()
    expected = net(IMAGES)
    expected = expected.exp() if name == "log-softmax" else expected
    assert torch.allclose(scores, expected, atol=1e-6)
    divisor = 2 if "temperature" in name else 1
    difference = seen - net.logits(IMAGES) / divisor
    if name == "log-softmax":
        difference = difference - difference.mean(1, keepdim=True)
    assert difference.abs().max() < 1e-5


def test_a_network_for_one_image_keeps_taking_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its code writes the batch size into a shape: the images are computed one by one."""
    net = make_net(4, lambda x: x.reshape(1, 2, 2).flatten(1).sigmoid())
    for checkpoint in (load_program(tmp_path, net), load_code(tmp_path, monkeypatch, net)):
        assert checkpoint.spec.scores == "multilabel"
        expected = torch.cat([net(image) for image in IMAGES.split(1)])
        assert torch.allclose(checkpoint.module(IMAGES).sigmoid(), expected, atol=1e-6)


class Recurrent(nn.Module):
    """Rows of an image, one after the other, through a recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.LSTM(3 * SIZE, 8, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.rows(x.permute(0, 2, 1, 3).flatten(2))
        scores: Tensor = self.head(y[:, -1]).softmax(1)
        return scores


def test_a_recurrent_network_computes_image_by_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch ends the process where the graph of a recurrent layer gets another batch size."""
    net = Recurrent().eval()
    checkpoint = load_code(tmp_path, monkeypatch, net)
    assert (checkpoint.spec.scores, checkpoint.origins["scores"]) == ("softmax", "network")
    assert torch.allclose(checkpoint.module(IMAGES).softmax(1), net(IMAGES), atol=1e-6)


def test_logits_stay_logits(tmp_path: Path) -> None:
    net = make_net(4, lambda x: x)
    checkpoint = load_program(tmp_path, net)
    assert (checkpoint.spec.scores, checkpoint.origins["scores"]) == ("softmax", "default")
    assert torch.allclose(checkpoint.module(IMAGES), net(IMAGES))


def test_a_sigmoid_inside_the_network_is_not_its_end(tmp_path: Path) -> None:
    """A squeeze layer's gate, and a swish, whose sigmoid is multiplied by its own input."""
    for end in (F.silu, lambda x: x * torch.sigmoid(x)):
        net = make_net(4, end)
        checkpoint = load_program(tmp_path, net)
        assert checkpoint.spec.scores == "softmax"
        assert torch.allclose(checkpoint.module(IMAGES), net(IMAGES))


def test_probabilities_made_in_another_way(tmp_path: Path) -> None:
    """Both probabilities of one sigmoid, joined: they add up to 1, and no softmax is applied."""
    net = make_net(1, lambda x: torch.cat([1 - x.sigmoid(), x.sigmoid()], dim=1))
    checkpoint = load_program(tmp_path, net)
    assert (checkpoint.spec.scores, checkpoint.spec.classes) == ("probabilities", 2)
    assert "add up to 1" in checkpoint.notes[-1]
    assert torch.allclose(checkpoint.module(IMAGES), net(IMAGES))


def test_several_sigmoids_of_classes_that_exclude_each_other(tmp_path: Path) -> None:
    net = make_net(4, torch.sigmoid)
    checkpoint = load_program(tmp_path, net, CheckpointFlags(scores="probabilities"))
    assert (checkpoint.spec.scores, checkpoint.origins["scores"]) == ("probabilities", "flag")
    assert torch.allclose(checkpoint.module(IMAGES), net(IMAGES))


def test_labels_are_said_by_the_flag(tmp_path: Path) -> None:
    flags = CheckpointFlags(scores="multilabel", threshold=0.3)
    spec = load_program(tmp_path, make_net(4, lambda x: x), flags).spec
    assert (spec.scores, spec.threshold, spec.classes) == ("multilabel", 0.3, 4)


def test_a_family_with_one_output_is_binary_by_necessity() -> None:
    """One logit trained with binary cross-entropy: two classes, and the user is told."""
    torch.manual_seed(0)
    weights = FAMILIES["mobilenet_v2"].build(0.35, classes=1).state_dict()
    checkpoint = load_checkpoint(weights)
    assert (checkpoint.spec.scores, checkpoint.spec.classes) == ("sigmoid", 2)
    assert checkpoint.spec.binary and checkpoint.spec.threshold == 0.5
    assert "one output is taken for the logit of a sigmoid" in checkpoint.notes[-1]
    flags = CheckpointFlags(scores="multilabel")  # as the note says
    assert load_checkpoint(weights, flags).spec.classes == 1


@pytest.mark.parametrize(
    ("outputs", "end", "flags", "words"),
    [
        (4, "softmax", CheckpointFlags(scores="multilabel"), "which ends in a softmax"),
        (4, "sigmoid", CheckpointFlags(scores="softmax"), "which ends in a sigmoid"),
        (1, "none", CheckpointFlags(scores="softmax"), "a softmax always makes 1"),
        (4, "none", CheckpointFlags(scores="sigmoid"), "is for one output, and .*net.pt2 has 4"),
        (4, "none", CheckpointFlags(threshold=0.4), "add --scores multilabel"),
        (1, "none", CheckpointFlags(threshold=1.0), "threshold 1 is out of range"),
    ],
)
def test_flags_that_do_not_go_with_the_network(
    tmp_path: Path, outputs: int, end: str, flags: CheckpointFlags, words: str
) -> None:
    """And the advice works: without the flag, or with the value it names, the file loads."""
    ends = {"softmax": lambda x: x.softmax(1), "sigmoid": torch.sigmoid, "none": lambda x: x}
    net = make_net(outputs, ends[end])
    with pytest.raises(SettingsError, match=words) as caught:
        load_program(tmp_path, net, flags)
    assert "\n" not in str(caught.value)
    load_program(tmp_path, net)
    if "add --scores multilabel" in words:
        load_program(tmp_path, net, CheckpointFlags(scores="multilabel", threshold=0.4))
