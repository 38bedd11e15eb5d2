"""Makes small networks and images for the quantization tests, and compares programs with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from edgekit.images import list_images, read_image
from edgekit.models import FAMILIES
from edgekit.preprocess import preprocess
from edgekit.progress import Progress
from edgekit.quantize.activation_statistics import gather_statistics
from edgekit.quantize.backends import LITERT
from edgekit.quantize.litert_plan import plan_for_litert
from edgekit.quantize.pipeline import choose_encodings
from edgekit.quantize.pt2e import quantize_program
from edgekit.quantize.recipe import Recipe
from edgekit.rewrite.export import export_program
from edgekit.rewrite.graph import WEIGHTED, is_call
from edgekit.rewrite.input_pixels import normalize_pixels
from edgekit.spec import NORMALIZATIONS, InputSpec

SIZE = 16


def small_spec(size: int = SIZE, normalization: str = "imagenet") -> InputSpec:
    return InputSpec(height=size, width=size, normalization=NORMALIZATIONS[normalization])


def export(*layers: nn.Module, size: int = SIZE) -> GraphModule:
    """The canonical program of a sequence of layers."""
    return export_program(nn.Sequential(*layers), small_spec(size))


def conv_bn(inputs: int, outputs: int, *, groups: int = 1, stride: int = 1) -> list[nn.Module]:
    """A convolution and a batch norm that has seen something."""
    norm = nn.BatchNorm2d(outputs)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-0.5, 0.5)
        norm.running_mean.uniform_(-0.3, 0.3)
        norm.running_var.uniform_(0.2, 2)
    conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, groups=groups, bias=False)
    return [conv, norm]


def small_net() -> nn.Sequential:
    """Convolution, depthwise, pointwise, pooling, classifier: 10 classes."""
    torch.manual_seed(0)
    layers = [*conv_bn(3, 8, stride=2), nn.ReLU(), *conv_bn(8, 8, groups=8), nn.ReLU()]
    head = [*conv_bn(8, 16), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)]
    return nn.Sequential(*layers, *head).eval()


def random_input(count: int = 4, size: int = SIZE) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def run(program: nn.Module, x: Tensor) -> Tensor:
    with torch.inference_mode():
        output: Tensor = program(x)
    return output


def relative_error(seen: Tensor, expected: Tensor) -> float:
    return float((seen.double() - expected.double()).norm() / expected.double().norm())


def calls(program: GraphModule) -> list[str]:
    """The operators of a program, in order."""
    return [str(node.target) for node in program.graph.nodes if node.op == "call_function"]


def weighted_nodes(program: GraphModule) -> list[torch.fx.Node]:
    return [node for node in program.graph.nodes if is_call(node, *WEIGHTED)]


def write_images(folder: Path, count: int, *, height: int = 72, width: int = 96) -> Path:
    """Different coloured, blurred patterns as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(3)
    for index in range(count):
        small = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        image = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{index:03}.png"), image)
    return folder


def write_checkpoint(path: Path, images: Path) -> Path:
    """An untrained MobileNetV1 0.25 with 10 classes, for 64 px.

    Each batch norm brings `images` to a mean square of 1, and most weights are positive: random
    layers whose terms cancel out amplify any rounding from layer to layer.
    """

    torch.manual_seed(0)
    module = FAMILIES["mobilenet_v1"].build(0.25, classes=10).eval()
    make_positive(module)
    settle_batch_norms(module, images, small_spec(64))
    torch.save(module.state_dict(), path)
    return path


def make_positive(module: nn.Module) -> None:
    """Make most weights of the convolutions positive."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.data += 0.3 * layer.weight.data.abs().max()


def settle_batch_norms(module: nn.Module, images: Path, spec: InputSpec) -> None:
    """Let every batch norm bring `images` to a mean square of 1, as training would."""

    def scale(norm: nn.Module, arguments: tuple[Tensor]) -> None:
        norm.running_var.copy_(arguments[0].square().mean((0, 2, 3)))

    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(scale) for norm in norms]
    pixels = np.stack([preprocess(read_image(file), spec) for file in list_images(images)])
    with torch.no_grad():
        module(normalize_pixels(torch.from_numpy(pixels), spec.normalization))
    for hook in hooks:
        hook.remove()


class Lines(Progress):
    """Keeps what is reported."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.updates: list[tuple[int, int]] = []

    def step(self, text: str) -> None:
        self.lines.append(text)

    def update(self, done: int, total: int, phase: str = "") -> None:
        self.updates.append((done, total))


def quantize_net(net: nn.Module, x: torch.Tensor, **options: object) -> tuple[GraphModule, ...]:
    """(float program, int8 program), calibrated on `x` itself."""
    program = export_program(net, small_spec())
    plan = plan_for_litert(program)
    statistics = gather_statistics(program, plan.tensors, [x])
    encodings = choose_encodings(
        program, plan, statistics, Recipe(name="test", ranges="min-max"), LITERT
    )
    settings: dict[str, Any] = {"fold_weights": False} | options
    return program, quantize_program(program, plan, encodings, LITERT.scheme, **settings)
