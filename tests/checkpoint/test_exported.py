"""Exported programs load or are refused with a message, and nothing in them is run."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgekit.checkpoint import load_checkpoint
from edgekit.errors import CheckpointError, SettingsError
from edgekit.pt2.operators import ATEN, CHECKS, find_operator
from edgekit.rewrite.export import export_program
from edgekit.spec import CheckpointFlags
from tests.checkpoint.exported_files import (
    ANY_BATCH,
    ONE_IMAGE,
    SIZE,
    build_classifier,
    change,
    change_json,
    export,
    export_like_2_6,
    export_like_2_8,
)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return build_classifier()


@pytest.fixture(scope="module")
def exported(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The classifier, exported with one image."""
    return export(network, tmp_path_factory.mktemp("exported") / "net.pt2")


def random_images(count: int, size: int = SIZE) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def assert_same(path: Path, network: nn.Module, count: int = 3) -> None:
    images = random_images(count)
    with torch.inference_mode():
        torch.testing.assert_close(load_checkpoint(path).module(images), network(images))


def assert_refused(path: Path, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as raised:
        load_checkpoint(path)
    assert "\n" not in str(raised.value)


# --- What loads ----------------------------------------------------------------------------------


def test_the_network_is_the_one_that_was_exported(exported: Path, network: nn.Module) -> None:
    checkpoint = load_checkpoint(exported)
    spec = checkpoint.spec
    assert (spec.family, spec.width, spec.classes, spec.input.size) == (
        "exported",
        1.0,
        5,
        (SIZE, SIZE),
    )
    assert (spec.activation, spec.padding, spec.batch_norm_eps) == ("relu6", "symmetric", 1e-3)
    assert spec.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert spec.multiply_adds == 27 * 8 * 16 * 16 + 8 * 5
    assert checkpoint.file_kind == "torch.export program"
    assert checkpoint.module.state_dict().keys() >= network.state_dict().keys()
    assert not checkpoint.module.training
    assert not any(parameter.requires_grad for parameter in checkpoint.module.parameters())
    assert_same(exported, network)
    assert_same(exported, network, count=1)


def test_where_each_value_came_from(exported: Path) -> None:
    assert dict(load_checkpoint(exported, CheckpointFlags(normalize="tf")).origins) == {
        "family": "tensors",
        "width": "tensors",
        "classes": "tensors",
        "input_size": "program",
        "normalization": "flag",
        "activation": "program",
        "padding": "program",
        "resize": "default",
        "batch_norm_eps": "program",
        "scores": "default",
    }


def test_any_batch(tmp_path: Path, network: nn.Module) -> None:
    assert_same(export(network, tmp_path / "net.pt2", dynamic_shapes=ANY_BATCH), network)


def test_any_size(tmp_path: Path, network: nn.Module) -> None:
    dynamic = torch.export.Dim.DYNAMIC
    shapes = ({0: dynamic, 2: dynamic, 3: dynamic},)
    path = export(network, tmp_path / "net.pt2", dynamic_shapes=shapes)
    checkpoint = load_checkpoint(path)
    assert (checkpoint.spec.input.size, checkpoint.origins["input_size"]) == (
        (SIZE, SIZE),
        "default",
    )
    checkpoint = load_checkpoint(path, CheckpointFlags(input_size=64))
    assert (checkpoint.spec.input.size, checkpoint.origins["input_size"]) == ((64, 64), "flag")
    images = random_images(2, 64)
    torch.testing.assert_close(checkpoint.module(images), network(images))


def test_real_checkpoint_costs_and_answers_the_same(test_data: Path, tmp_path: Path) -> None:
    original = load_checkpoint(test_data / "checkpoints" / "mobilenet_v1_0.25_224_imagenet.pth.tar")
    path = export(original.module, tmp_path / "net.pt2", (torch.zeros(1, 3, 224, 224),))
    checkpoint = load_checkpoint(path)
    assert checkpoint.spec.input.size == (224, 224)
    assert (checkpoint.spec.parameters, checkpoint.spec.multiply_adds) == (470_072, 41_030_272)
    images = random_images(2, 224)
    torch.testing.assert_close(checkpoint.module(images), original.module(images))


@pytest.mark.parametrize("save", [export_like_2_6, export_like_2_8])
def test_files_of_older_pytorch(
    tmp_path: Path, network: nn.Module, save: Callable[[nn.Module, Path], Path]
) -> None:
    assert_same(save(network, tmp_path / "net.pt2"), network)


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_decomposed_layers_are_put_together_again(tmp_path: Path) -> None:
    """The passes of the conversion match whole layers, so core operators are composed to these."""
    conv, norm = nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8, eps=1e-3)
    nn.init.normal_(norm.running_mean)
    head = [nn.MaxPool2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 6)]
    network = nn.Sequential(conv, norm, nn.ReLU6(), *head, nn.Linear(6, 5, bias=False)).eval()
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(network, ONE_IMAGE).run_decompositions(), path)
    assert_same(path, network)
    checkpoint = load_checkpoint(path)
    assert (checkpoint.spec.activation, checkpoint.spec.batch_norm_eps) == ("relu6", 1e-3)
    program = torch.export.export(checkpoint.module, ONE_IMAGE)
    called = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert "aten.batch_norm.default" in called
    assert "aten.max_pool2d.default" in called
    assert [called.count(f"aten.{name}.default") for name in ("conv2d", "linear")] == [1, 2]
    assert not {"aten.convolution.default", "aten.addmm.default", "aten.mm.default"} & set(called)


def test_padding_of_tensorflow_is_seen(tmp_path: Path) -> None:
    layers = [nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 4, 3, stride=2), nn.Hardswish()]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    spec = load_checkpoint(export(network, tmp_path / "net.pt2")).spec
    assert (spec.padding, spec.activation) == ("same", "hardswish")


def test_weights_in_two_places_count_once(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 3, 1, bias=False), nn.Conv2d(3, 3, 1, bias=False)
            self.second.weight = self.first.weight

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.second(self.first(images)).mean((2, 3))
            return logits

    network = Tied().eval()
    path = export(network, tmp_path / "net.pt2")
    assert load_checkpoint(path).spec.parameters == 9
    assert_same(path, network)


@pytest.mark.parametrize("dynamic_shapes", [None, ANY_BATCH])
def test_tensors_and_sizes_made_on_the_way(tmp_path: Path, dynamic_shapes: Any) -> None:
    """Shuffled channels, a tensor made on the device of the image, sizes that are computed."""

    class Shuffling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 8, 3, padding="same"), nn.Linear(16, 5)

        def forward(self, images: Tensor) -> Tensor:
            x = nn.functional.hardtanh(self.conv(images), 0, 6)
            count, channels, height, width = x.shape
            x = x.view(count, 2, channels // 2, height, width).transpose(1, 2)
            halves = x.reshape(count * 2, channels // 2, height, width).mean((2, 3))
            ramp = torch.arange(4, device=images.device, dtype=torch.float32)
            probabilities = torch.softmax((halves + ramp).view(count, 8), dim=1)
            logits: Tensor = self.head(
                torch.cat([probabilities, torch.zeros_like(probabilities)], dim=-1)
            )
            return logits

    network = Shuffling().eval()
    path = export(network, tmp_path / "net.pt2", dynamic_shapes=dynamic_shapes)
    assert_same(path, network)
    assert load_checkpoint(path).spec.multiply_adds == 27 * 8 * SIZE**2 + 16 * 5


def test_position_embeddings_and_standardized_weights(tmp_path: Path) -> None:
    """What vision transformers and NFNets compute beside their layers: sines of positions, an
    embedding that is resized, weights that are standardized before they are used."""

    class Embedding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 8, 4, stride=4), nn.Linear(8, 5)
            self.grid = nn.Parameter(torch.randn(1, 8, 3, 3))

        def forward(self, images: Tensor) -> Tensor:
            weight = self.conv.weight
            rows = nn.functional.batch_norm(
                weight.reshape(1, 8, -1), None, None, training=True, momentum=0.0
            )
            x = nn.functional.conv2d(images, rows.reshape_as(weight), self.conv.bias, 4)
            side = x.shape[-1]
            x = x + nn.functional.interpolate(
                self.grid, size=(side, side), mode="bicubic", antialias=True
            )
            mask = torch.zeros(1, side, side, dtype=torch.bool, device=images.device)
            rows = (~mask).cumsum(1, dtype=torch.float32)
            angles = torch.stack((rows.sin(), rows.cos()), dim=1).repeat(1, 4, 1, 1)
            logits: Tensor = self.head((x * angles).mean((2, 3)))
            return logits

    network = Embedding().eval()
    assert_same(export(network, tmp_path / "net.pt2"), network)


@pytest.mark.parametrize("dynamic_shapes", [None, ANY_BATCH])
def test_calibration_runs_batches(tmp_path: Path, network: nn.Module, dynamic_shapes: Any) -> None:
    """The program to quantize is exported with one image and calibrated with eight at a time."""
    path = export(network, tmp_path / "net.pt2", dynamic_shapes=dynamic_shapes)
    checkpoint = load_checkpoint(path)
    program = export_program(checkpoint.module, checkpoint.spec.input)
    images = random_images(8)
    torch.testing.assert_close(program(images), network(images))


# --- Flags ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            {"arch": "mobilenet_v1"},
            r"--arch mobilenet_v1 does not go with .*net\.pt2: leave it out",
        ),
        ({"width": 0.5}, r"--width 0\.5 does not go with"),
        ({"activation": "relu"}, "--activation relu does not go with"),
        ({"padding": "same"}, "--padding same does not go with"),
        ({"input_size": 64}, r"--input-size 64x64 does not go with .*exported for 32x32 pixels"),
    ],
)
def test_flags_that_the_program_settles(
    exported: Path, flags: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        load_checkpoint(exported, CheckpointFlags(**flags))


def test_the_programs_own_size_may_be_said(exported: Path) -> None:
    assert load_checkpoint(exported, CheckpointFlags(input_size=SIZE)).spec.input.width == SIZE


# --- Nothing in the file is run ------------------------------------------------------------------


class RunsCode:
    """Unpickling it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def dangerous_bytes(folder: Path) -> bytes:
    stream = io.BytesIO()
    torch.save((RunsCode(folder), {}), stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    "member",
    [
        "data/sample_inputs/model.pt",
        "data/weights/model.pt",
        "data/constants/model.pt",
    ],
)
def test_pickled_members_are_never_run(exported: Path, tmp_path: Path, member: str) -> None:
    folder = tmp_path / "made"
    path = change(exported, tmp_path / "net.pt2", {member: dangerous_bytes(folder)})
    assert_refused(path, rf"Python object posix\.mkdir in '{member}', which could run code")
    assert not folder.exists()


@pytest.mark.parametrize("member", ["serialized_example_inputs.pt", "serialized_state_dict.pt"])
def test_pickled_members_of_old_files_are_never_run(
    network: nn.Module, tmp_path: Path, member: str
) -> None:
    folder = tmp_path / "made"
    path = export_like_2_6(network, tmp_path / "old.pt2")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "net.pt2", "w") as new:
        for name in old.namelist():
            new.writestr(name, dangerous_bytes(folder) if name == member else old.read(name))
    assert_refused(tmp_path / "net.pt2", rf"Python object posix\.mkdir in '{member}'")
    assert not folder.exists()


@pytest.mark.parametrize("kind", ["custom_obj_0", "opaque_obj_0"])
def test_objects_are_refused(exported: Path, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "made"
    content = pickle.dumps(RunsCode(folder), protocol=2)
    path = change(exported, tmp_path / "net.pt2", {f"data/constants/{kind}": content})
    assert_refused(path, f"a Python object in 'data/constants/{kind}', which could run code")
    assert not folder.exists()


def test_a_weight_that_says_it_is_a_pickle(exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "made"

    def edit(config: Any) -> None:
        config["config"]["head.bias"] |= {"use_pickle": True, "path_name": "evil"}

    named = "data/weights/model_weights_config.json"
    path = change_json(exported, tmp_path / "edited.pt2", edit, named)
    path = change(path, tmp_path / "net.pt2", {"data/weights/evil": dangerous_bytes(folder)})
    assert_refused(path, "a Python object in 'data/weights/evil', which could run code")
    assert not folder.exists()


def test_text_in_the_program_is_never_evaluated(network: nn.Module, tmp_path: Path) -> None:
    """PyTorch evaluates sizes and guards as Python; here they are not even read."""
    folder = tmp_path / "made"
    code = f"__import__('os').mkdir({str(folder)!r})"
    source = export(network, tmp_path / "dynamic.pt2", dynamic_shapes=ANY_BATCH)

    def edit(program: Any) -> None:
        graph = program["graph_module"]["graph"]
        for value in graph["sym_int_values"].values():
            value["as_expr"]["expr_str"] = code
        graph["tensor_values"]["images"]["sizes"][0]["as_expr"]["expr_str"] = code
        program["guards_code"] = [code]
        program["range_constraints"] = {code: {"min_val": 1, "max_val": 2}}

    assert_same(change_json(source, tmp_path / "net.pt2", edit), network)
    assert not folder.exists()


@pytest.mark.parametrize(
    "target",
    [
        "torch.os.mkdir",
        "torch.serialization.os.mkdir",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.__class__.default",
        "torch.ops.load_library",
        "torch.hub.load",
        "_operator.methodcaller",
        "math.__loader__.load_module",
        "builtins.eval",
        "os.mkdir",
    ],
)
def test_only_listed_operators_are_called(exported: Path, tmp_path: Path, target: str) -> None:
    folder = tmp_path / "made"

    def edit(program: Any) -> None:
        node = program["graph_module"]["graph"]["nodes"][0]
        node["target"] = target
        node["inputs"] = [{"name": "path", "arg": {"as_string": str(folder)}, "kind": 1}]

    assert find_operator(target) is None
    path = change_json(exported, tmp_path / "net.pt2", edit)
    assert_refused(
        path, rf"calls '{target}', which edgekit does not run from a file.*--arch package"
    )
    assert not folder.exists()


def test_listed_operators_exist_and_name_no_files() -> None:
    for name in sorted(ATEN):
        packet = getattr(torch.ops.aten, name)
        for overload in packet.overloads():
            arguments = getattr(packet, overload)._schema.arguments
            texts = {argument.name for argument in arguments if "str" in str(argument.type)}
            assert not texts & {"filename", "path"}, name
    assert all(find_operator(target) is None for target in CHECKS)


@pytest.mark.parametrize(
    "name", ["forward", "conv.forward", "", "a..b", "_program", "conv.weight.x"]
)
def test_names_of_weights_cannot_replace_methods(exported: Path, tmp_path: Path, name: str) -> None:
    def edit(program: Any) -> None:
        for spec in program["graph_module"]["signature"]["input_specs"]:
            if spec.get("parameter", {}).get("parameter_name") == "head.bias":
                spec["parameter"]["parameter_name"] = name

    def rename(config: Any) -> None:
        config["config"][name] = config["config"].pop("head.bias")

    path = change_json(exported, tmp_path / "edited.pt2", edit)
    named = "data/weights/model_weights_config.json"
    path = change_json(path, tmp_path / "net.pt2", rename, named)
    assert_refused(path, "is a damaged torch.export program")


# --- No classifier -------------------------------------------------------------------------------


class Returns(nn.Module):
    """One convolution and what `result` makes of it."""

    def __init__(self, result: Callable[..., Any]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.result = result

    def forward(self, *inputs: Tensor) -> Any:
        return self.result(self, *inputs)


def logits(network: Any, images: Tensor, *others: Tensor) -> Tensor:
    result: Tensor = network.norm(network.conv(images)).mean((2, 3))
    return result + sum(other.mean() for other in others)


@pytest.mark.parametrize(
    ("inputs", "result", "message"),
    [
        ((torch.zeros(1, 3, 64),), lambda _, x: x.mean(2), r"an input of shape \[1, 3, 64\]"),
        (
            (torch.zeros(1, 2, 32, 32),),
            lambda _, x: x.mean((2, 3)),
            r"shape \[1, 2, 32, 32\], torch.float32: expected a classifier of torch.float32 images",
        ),
        ((torch.zeros(1, 3, 32, 32).half(),), lambda _, x: x.mean((2, 3)), r"torch\.float16"),
        ((torch.zeros(4, 3, 32, 32),), logits, "exported for batches of 4 images: expected one"),
        ((*ONE_IMAGE, *ONE_IMAGE), logits, "takes 2 inputs: expected a classifier"),
        (
            ONE_IMAGE,
            lambda n, x: (n.conv(x), x),
            r"pt2 returns an output of shape \[1, 4, 30, 30\]",
        ),
        (ONE_IMAGE, lambda n, x: None, "returns no tensor: expected the logits of a classifier"),
        (
            ONE_IMAGE,
            lambda n, x: logits(n, x).argmax(1, keepdim=True),
            r"returns torch\.int64: expected logits, without an argmax",
        ),
        (ONE_IMAGE, lambda n, x: n.conv(x), r"pt2 returns an output of shape \[1, 4, 30, 30\]"),
        (
            ONE_IMAGE,
            lambda n, x: torch.fft.fft2(n.conv(x)).real.mean((2, 3)),
            r"calls 'torch\.ops\.aten\.\w*fft\w*\.default', which edgekit does not run from a file",
        ),
    ],
)
def test_no_classifier(
    tmp_path: Path, inputs: tuple[Tensor, ...], result: Callable[..., Any], message: str
) -> None:
    assert_refused(export(Returns(result).eval(), tmp_path / "net.pt2", inputs), message)


def test_training_mode_is_refused(tmp_path: Path) -> None:
    path = export(Returns(logits).train(), tmp_path / "net.pt2")
    assert_refused(path, "expected a network in eval mode; export.*model.eval|in training mode")
    dropout = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Dropout()).train()
    path = export(dropout, tmp_path / "dropout.pt2")
    assert_refused(path, r"runs 'torch\.ops\.aten\.dropout\.default' in training mode")


def test_quantized_program_is_refused(exported: Path, tmp_path: Path) -> None:
    target = "torch.ops.quantized_decomposed.quantize_per_tensor.default"

    def edit(program: Any) -> None:
        program["graph_module"]["graph"]["nodes"][0]["target"] = target

    path = change_json(exported, tmp_path / "net.pt2", edit)
    assert_refused(path, rf"is quantized \('{target}'\): expected the float network")


def test_half_precision_weights_are_refused(tmp_path: Path) -> None:
    network = Returns(lambda n, x: n.conv(x.half()).float().mean((2, 3))).eval()
    network.conv.half()
    path = export(network, tmp_path / "net.pt2")
    assert_refused(path, r"holds 'conv\.weight' as torch\.float16: expected torch\.float32")


def test_weights_that_are_not_numbers(tmp_path: Path) -> None:
    network = build_classifier()
    with torch.no_grad():
        network.head.bias[1] = float("nan")
    path = export(network, tmp_path / "net.pt2")
    assert_refused(path, r"holds 1 NaN or infinite values in 'head\.bias': expected finite")


# --- Other files ---------------------------------------------------------------------------------


def test_compiled_package_is_refused(exported: Path, tmp_path: Path) -> None:
    member = "data/aotinductor/model/model.wrapper.so"
    path = change(exported, tmp_path / "net.pt2", {member: b"\x7fELF"})
    assert_refused(path, rf"is compiled for one machine \('{member}'\).*torch\.export\.save")
    only = change(path, tmp_path / "only.pt2", {"models/model.json": None, "archive_format": None})
    assert_refused(only, "is compiled for one machine")


def test_several_programs_are_refused(exported: Path, tmp_path: Path) -> None:
    path = change(exported, tmp_path / "net.pt2", {"models/other.json": b"{}"})
    assert_refused(path, r"holds 2 exported programs \('model', 'other'\): expected one")


def test_other_versions_are_refused(exported: Path, tmp_path: Path) -> None:
    def edit(program: Any) -> None:
        program["schema_version"] = {"major": 7, "minor": 3}
        program["torch_version"] = "2.5.1"

    path = change_json(exported, tmp_path / "net.pt2", edit)
    assert_refused(
        path, r"version 7\.3 of the torch\.export format \(PyTorch '2\.5\.1'\): expected 8"
    )


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (
            "data/weights/model_weights_config.json",
            "lacks 'data/weights/model_weights_config.json'",
        ),
        ("data/weights/weight_0", "lacks 'data/weights/weight_0'"),
        ("models/model.json", r"holds 0 exported programs \(none\)"),
    ],
)
def test_missing_members(exported: Path, tmp_path: Path, member: str, message: str) -> None:
    assert_refused(change(exported, tmp_path / "net.pt2", {member: None}), message)


def test_weights_left_out(exported: Path, tmp_path: Path) -> None:
    path = change(exported, tmp_path / "net.pt2", {"data/weights/weight_0": b""})
    assert_refused(path, r"holds no values for 'conv\.weight': expected a program exported with")
    path = change(exported, tmp_path / "short.pt2", {"data/weights/weight_0": b"\0" * 40})
    assert_refused(path, "is a damaged torch.export program")


def test_truncated_file(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    path.write_bytes(exported.read_bytes()[:-500])
    assert_refused(path, "is a damaged or truncated checkpoint")


def test_damaged_program_fails_in_one_line(exported: Path, tmp_path: Path) -> None:
    """200 programs in which one number, name or list is another."""
    random = np.random.default_rng(0)

    def places(value: Any) -> list[tuple[Any, Any]]:
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        found = []
        for key, entry in entries:
            found.append((value, key))
            found += places(entry) if isinstance(entry, (dict, list)) else []
        return found

    def edit(program: Any) -> None:
        graph = program["graph_module"]
        found = places({key: graph[key] for key in ("graph", "signature")})
        holder, key = found[random.integers(len(found))]
        holder[key] = random.choice(np.array([None, -1, 10**6, "x", [], {}], dtype=object))

    for number in range(200):
        path = change_json(exported, tmp_path / f"{number}.pt2", edit)
        try:
            load_checkpoint(path)
        except CheckpointError as error:
            assert "\n" not in str(error)
        path.unlink()


def test_json_that_nests_too_deep(exported: Path, tmp_path: Path) -> None:
    path = change(exported, tmp_path / "net.pt2", {"models/model.json": b"[" * 200_000})
    assert_refused(path, "is a damaged torch.export program")
