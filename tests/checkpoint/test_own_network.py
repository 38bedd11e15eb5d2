"""Networks of the user's own: what they return, what they do to their input, and their failures."""

from __future__ import annotations

import sys
import textwrap
from collections import namedtuple
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from edgekit.checkpoint import load_checkpoint
from edgekit.checkpoint.inner_normalization import find_inner_normalization
from edgekit.checkpoint.outputs import list_tensors
from edgekit.checkpoint.own_network import make_classifier
from edgekit.errors import CheckpointError, EdgekitError, SettingsError
from edgekit.rewrite.export import trace
from edgekit.spec import CheckpointFlags, InputSpec
from tests.checkpoint.exported_files import export

SIDE = 32
IMAGE = torch.zeros(1, 3, SIDE, SIDE)
Heads = namedtuple("Heads", ["age", "gender"])


@dataclass
class Output:
    """As transformers returns it: no loss, the logits, and what else was asked for."""

    loss: Tensor | None
    logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None


class Returns(nn.Module):
    """Two heads, `(N, 6)` and `(N, 2)`, and the features, in a form of one's own."""

    def __init__(self, form: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.age, self.gender = nn.Linear(4, 6), nn.Linear(4, 2)
        self.form = form

    def forward(self, x: Tensor) -> Any:
        features = self.conv(x).relu()
        pooled = features.mean((2, 3))
        return self.form(self.age(pooled), self.gender(pooled), features)


FORMS: dict[str, tuple[Any, int, str]] = {
    "record": (lambda age, gender, features: Output(None, age), 6, ""),
    "record with features": (
        lambda age, gender, features: Output(None, age, (features,)),
        6,
        "the network returns 2 tensors (logits [1, 6], hidden_states.0 [1, 4, 30, 30]): logits is",
    ),
    "dict": (
        lambda age, gender, features: {"features": features, "out": gender},
        2,
        "returns 2 tensors (features [1, 4, 30, 30], out [1, 2]): out is taken as its output;"
        " --output-tensor chooses another",
    ),
    "tuple": (lambda age, gender, features: (age, features), 6, "(0 [1, 6], 1 [1, 4, 30, 30]): 0"),
    "named tuple": (lambda age, gender, features: Heads(age, gender), 6, "(age [1, 6], gender"),
    "object": (lambda age, gender, features: SimpleNamespace(logits=gender), 2, ""),
    "list of one": (lambda age, gender, features: [age], 6, ""),
    "four axes": (lambda age, gender, features: age[:, :, None, None], 6, ""),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_output_in_a_record(name: str) -> None:
    """Objects with `.logits`, dicts, tuples and two heads: the first tensor that can be logits."""
    form, classes, note = FORMS[name]
    network = Returns(form).eval()
    expected = next(t for _, t in list_tensors(network(IMAGE)) if t.shape[1] == classes).flatten(1)
    classifier = make_classifier(network, IMAGE, "nets:make", None)
    assert torch.equal(classifier.module(IMAGE), expected)
    assert note in " ".join(classifier.notes) if note else classifier.notes == ()
    program = trace(classifier.module, InputSpec(height=SIDE, width=SIDE))
    torch.testing.assert_close(program(IMAGE), expected)


@pytest.mark.parametrize(("wanted", "classes"), [("gender", 2), ("1", 2), ("age", 6), ("0", 6)])
def test_the_output_that_was_named(wanted: str, classes: int) -> None:
    network = Returns(lambda age, gender, features: Heads(age, gender)).eval()
    classifier = make_classifier(network, IMAGE, "nets:make", wanted)
    assert classifier.module(IMAGE).shape == (1, classes)
    assert classifier.notes == ()


def test_an_output_that_is_not_there() -> None:
    network = Returns(lambda age, gender, features: Heads(age, gender)).eval()
    with pytest.raises(SettingsError) as info:
        make_classifier(network, IMAGE, "nets:make", "gander")
    assert str(info.value) == (
        "--output-tensor gander is not an output of nets:make: expected a name or number of"
        " age [1, 6], gender [1, 2]"
    )


def test_no_tensor_at_all() -> None:
    with pytest.raises(CheckpointError, match=r"nets:make returns no tensor: expected the logits"):
        make_classifier(Returns(lambda *_: None).eval(), IMAGE, "nets:make", None)


class Squeezing(nn.Module):
    """Returns `(classes,)` for one image, and `(N,)` with one class."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).mean((2, 3))).squeeze()


@pytest.mark.parametrize("classes", [5, 1])
def test_a_squeezed_output(classes: int) -> None:
    classifier = make_classifier(Squeezing(classes).eval(), IMAGE, "nets:make", None)
    assert classifier.module(IMAGE).shape == (1, classes)
    assert classifier.module(IMAGE.repeat(3, 1, 1, 1)).shape == (3, classes)


class OneImage(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).mean((2, 3)).view(1, 4))


def test_a_network_that_takes_one_image() -> None:
    network = OneImage().eval()
    images = torch.randn(3, 3, SIDE, SIDE)
    expected = torch.cat([network(image) for image in images.split(1)])
    classifier = make_classifier(network, IMAGE, "nets:make", None)
    torch.testing.assert_close(classifier.module(images), expected)


@pytest.mark.parametrize(
    ("form", "flags", "classes", "note"),
    [
        (lambda a, g, f: {"age": a, "gender": g}, {}, 6, "(age [1, 6], gender [1, 2]): age is"),
        (lambda a, g, f: {"age": a, "gender": g}, {"output_tensor": "gender"}, 2, None),
        (lambda a, g, f: (f, (a, g)), {"output_tensor": "1.1"}, 2, None),
        (lambda a, g, f: (f, (a, g)), {}, 6, "(0 [1, 4, 30, 30], 1.0 [1, 6], 1.1 [1, 2]): 1.0"),
        (lambda a, g, f: (None, g), {}, 2, None),
        (lambda a, g, f: a[:, :, None, None], {}, 6, None),
    ],
)
def test_outputs_of_an_exported_program(
    tmp_path: Path, form: Any, flags: Mapping[str, Any], classes: int, note: str | None
) -> None:
    network = Returns(form).eval()
    path = export(network, tmp_path / "net.pt2", (IMAGE,))
    checkpoint = load_checkpoint(path, CheckpointFlags(**flags))
    assert checkpoint.spec.classes == classes
    expected = next(t for _, t in list_tensors(network(IMAGE)) if t.shape[1] == classes)
    torch.testing.assert_close(checkpoint.module(IMAGE), expected.flatten(1))
    assert note in checkpoint.notes[0] if note else checkpoint.notes == ()


@pytest.mark.parametrize("classes", [5, 1])
def test_a_squeezed_output_of_an_exported_program(tmp_path: Path, classes: int) -> None:
    network = Squeezing(classes).eval()
    checkpoint = load_checkpoint(export(network, tmp_path / "net.pt2", (IMAGE,)))
    images = torch.randn(3, 3, SIDE, SIDE)
    expected = network(images).reshape(3, classes)
    torch.testing.assert_close(checkpoint.module(images), expected)


def test_output_tensor_is_for_ones_own_networks() -> None:
    from edgekit.models import FAMILIES

    weights = FAMILIES["mobilenet_v1"].build(0.25, 4).state_dict()
    with pytest.raises(
        SettingsError, match=r"--output-tensor logits does not go with mobilenet_v1"
    ):
        load_checkpoint(weights, CheckpointFlags(output_tensor="logits"))


# --- Normalization inside ------------------------------------------------------------------------


class Prepared(nn.Module):
    """A convolution after `prepare`."""

    def __init__(self, prepare: Any, channels: int = 3) -> None:
        super().__init__()
        self.prepare = prepare
        self.conv = nn.Conv2d(channels, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.prepare(x)).mean((2, 3))


def norm(mean: float, variance: float) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(3, eps=0.0).eval()
    nn.init.constant_(layer.running_mean, mean)
    nn.init.constant_(layer.running_var, variance)
    return layer


class Case(NamedTuple):
    """What is done to the input; the normalization that is assumed; a channel's mean and std."""

    prepare: Any
    normalize: str | None
    mean: float
    std: float
    channels: int = 3


IMAGENET = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
INSIDE = {
    "imagenet": Case(lambda x: (x - IMAGENET) / 0.225, "none", 0.485, 0.225),
    "to -1 … 1": Case(lambda x: 2 * x - 1, "none", 0.5, 0.5),
    "divided by 255": Case(lambda x: x / 255, "0,1", 0.0, 255.0),
    "levels to -1 … 1": Case(lambda x: x.div(127.5).sub(1), "0,1", 127.5, 127.5),
    "mean of levels": Case(lambda x: x - 123.0, "0,1", 123.0, 1.0),
    "divided, then normalized": Case(lambda x: (x / 255 - IMAGENET) / 0.225, "0,1", 123.7, 57.4),
    "batch norm of fractions": Case(norm(0.45, 0.07), "none", 0.45, 0.2646),
    "batch norm of normalized": Case(norm(0.02, 1.1), None, 0.02, 1.049),
    "grey of fractions": Case(lambda x: (x.mean(1, True) - 0.5) / 0.25, "none", 0.5, 0.25, 1),
}


@pytest.mark.parametrize("name", INSIDE)
def test_a_normalization_inside_is_found(name: str) -> None:
    case = INSIDE[name]
    found = find_inner_normalization(Prepared(case.prepare, case.channels).eval(), IMAGE)
    assert found is not None
    assert (found.mean[0], found.std[0]) == pytest.approx((case.mean, case.std), rel=1e-3, abs=1e-4)
    assert found.normalize == case.normalize
    assert "the network normalizes its input itself" in found.describe()


@pytest.mark.parametrize(
    ("prepare", "channels"),
    [
        (lambda x: x, 3),
        (lambda x: x[:, [2, 1, 0]], 3),
        (lambda x: x.mean(1, True), 1),
        (lambda x: nn.functional.instance_norm(x), 3),
        (lambda x: nn.functional.interpolate(x, size=8), 3),
    ],
)
def test_other_beginnings_are_not_normalization(prepare: Any, channels: int) -> None:
    assert find_inner_normalization(Prepared(prepare, channels).eval(), IMAGE) is None


# --- The user's code -----------------------------------------------------------------------------

CODE = """
import torch
from torch import nn

class Versioned(nn.Module):
    _version = 2

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(self.conv((x - 0.5) / 0.25).mean((2, 3)))

    def _load_from_state_dict(self, state, prefix, local_metadata, *rest):
        if local_metadata.get("version") not in (1, 2):
            raise ValueError("version should be set to 1 or 2 instead of None")
        self.loaded = local_metadata["version"]
        super()._load_from_state_dict(state, prefix, local_metadata, *rest)

class Failing(Versioned):
    def forward(self, x):
        return self.fc(x)  # line 23

class Choosing(Versioned):
    def forward(self, x):
        y = super().forward(x)
        return y if float(y.sum()) > 1e9 else -y  # line 28

def make_failing():
    return nn.Sequential(nn.Conv2d(3, "four", 3))  # line 31

def make_with_a_name(name):
    return Versioned()
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_code.py").write_text(textwrap.dedent(CODE))
    (tmp_path / "own_import.py").write_text("import nothing_of_this_name\n")
    (tmp_path / "own_syntax_error.py").write_text("x = 1\ndef build(:\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_code", raising=False)
    monkeypatch.setattr("sys.path", ["", *sys.path])
    return tmp_path


def weights(name: str = "Versioned") -> dict[str, Tensor]:
    from importlib import import_module

    state: dict[str, Tensor] = getattr(import_module("own_code"), name)().state_dict()
    return state


def own(name: str) -> CheckpointFlags:
    return CheckpointFlags(arch=f"own_code:{name}", input_size=SIDE)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("container", [None, "model"])
def test_versions_of_layers_are_kept(code: Path, prefix: str, container: str | None) -> None:
    """torchvision's MNASNet reads its version from the state dict: 1, where the file says 1."""
    state = weights()
    renamed = type(state)((prefix + key, value) for key, value in state.items())
    renamed._metadata = {prefix.rstrip("."): {"version": 1}}  # type: ignore[attr-defined]
    torch.save({container: renamed} if container else renamed, code / "weights.pth")
    checkpoint = load_checkpoint(code / "weights.pth", own("Versioned"))
    assert checkpoint.module.loaded == 1


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "student.net."])
def test_wrappers_and_what_is_beside_the_network(code: Path, prefix: str) -> None:
    """A Lightning checkpoint with `criterion.pos_weight` and metrics beside `model.*`."""
    state = weights()
    beside = {"criterion.pos_weight": torch.ones(1), "train_metrics.confmat": torch.eye(3)}
    named = {prefix + key: value for key, value in state.items()}
    checkpoint = load_checkpoint({"state_dict": named | beside}, own("Versioned"))
    for key, value in state.items():
        torch.testing.assert_close(checkpoint.module.state_dict()[key], value)


def test_without_versions_the_weights_are_of_the_codes(code: Path) -> None:
    assert load_checkpoint(dict(weights()), own("Versioned")).module.loaded == 2


def test_normalization_inside_is_the_default_and_said(code: Path) -> None:
    checkpoint = load_checkpoint(weights(), own("Versioned"))
    assert checkpoint.spec.input.normalization.name == "none"
    assert checkpoint.notes == (
        "the network normalizes its input itself (mean 0.5; std 0.25): --normalize none is"
        " assumed, which feeds it pixels divided by 255; --normalize sets another",
    )
    given = CheckpointFlags(arch="own_code:Versioned", input_size=SIDE, normalize="imagenet")
    followed = load_checkpoint(weights(), given)
    assert followed.spec.input.normalization.name == "imagenet" and followed.notes == ()


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        (
            "own_code:Failing",
            r"does not run on a .* image: RuntimeError: .*own_code\.py, line 23\)$",
        ),
        ("own_code:make_failing", r"failed when called: TypeError: .*\(own_code\.py, line 31\)"),
        ("own_code:make_with_a_name", r"without arguments \(.*'name'\): expected a factory that"),
        ("own_import:build", r"ModuleNotFoundError: No module named .*\(own_import\.py, line 1\)"),
        ("own_syntax_error:build", r"SyntaxError: .*\(own_syntax_error\.py, line 2\)"),
    ],
)
def test_an_exception_names_the_users_line(code: Path, arch: str, message: str) -> None:
    with pytest.raises(EdgekitError, match=message) as info:
        load_checkpoint(weights(), CheckpointFlags(arch=arch, input_size=SIDE))
    assert "\n" not in str(info.value)


def test_an_exception_under_export_names_the_users_line(code: Path) -> None:
    checkpoint = load_checkpoint(weights(), own("Choosing"))
    with pytest.raises(EdgekitError, match=r"cannot trace this Choosing: .*own_code\.py, line 28"):
        trace(checkpoint.module, checkpoint.spec.input)
