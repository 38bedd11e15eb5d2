"""Networks with layers and channels that never fire on the calibration images are quantized."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekit.images import read_image
from edgekit.preprocess import preprocess
from edgekit.quantize.activation_statistics import TensorStatistics
from edgekit.quantize.backends import LITERT, TENSORRT, Int8Backend
from edgekit.quantize.calibration_images import CalibrationImages, find_calibration_images
from edgekit.quantize.pipeline import calibrate
from edgekit.quantize.ranges import ActivationScheme, Range, choose_range
from edgekit.quantize.recipe import load_recipe
from edgekit.rewrite.export import export_program
from edgekit.rewrite.input_pixels import normalize_pixels
from tests.quantize.nets import run, small_spec, write_images

SIDE = 32
SPEC = small_spec(SIDE)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> CalibrationImages:
    folder = write_images(tmp_path_factory.mktemp("images"), 32)
    return find_calibration_images(folder, SPEC)


class SqueezeExcite(nn.Module):
    """Its squeezing layer never fires, as two of torchvision's MobileNetV3-Small."""

    def __init__(self, *, bias: float = -50.0) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        nn.init.constant_(self.squeeze.bias, bias)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.adaptive_avg_pool2d(x, 1)
        return x * F.hardsigmoid(self.excite(F.relu(self.squeeze(pooled))))


def conv(inputs: int, outputs: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, 3, stride, 1, groups=groups)
    return nn.Sequential(layer, nn.ReLU())


def head() -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))


def silence(block: nn.Sequential, channels: slice = slice(None), bias: float = -1e3) -> nn.Module:
    block[0].bias.data[channels] = bias
    return block


def zero(block: nn.Sequential, bias: float) -> nn.Module:
    nn.init.zeros_(block[0].weight)
    nn.init.constant_(block[0].bias, bias)
    return block


DEAD: dict[str, Callable[[], nn.Module]] = {
    "squeezing layers": lambda: nn.Sequential(conv(3, 8, 2), SqueezeExcite(), conv(8, 8), head()),
    "a layer": lambda: nn.Sequential(conv(3, 8, 2), silence(conv(8, 8)), conv(8, 8), head()),
    "a depthwise layer": lambda: nn.Sequential(
        conv(3, 8, 2), silence(conv(8, 8, groups=8)), conv(8, 8), head()
    ),
    "channels": lambda: nn.Sequential(
        silence(conv(3, 8, 2), slice(0, 5)), silence(conv(8, 8, groups=8), slice(4, 8)), head()
    ),
    "all but one channel": lambda: nn.Sequential(silence(conv(3, 8, 2), slice(1, 8)), head()),
    "the first layer": lambda: nn.Sequential(silence(conv(3, 8, 2)), conv(8, 8), head()),
    "the first weights": lambda: nn.Sequential(zero(conv(3, 8, 2), 0.0), conv(8, 8), head()),
    "constant channels": lambda: nn.Sequential(conv(3, 8, 2), zero(conv(8, 8), 2.0), head()),
    "nearly zero": lambda: nn.Sequential(conv(3, 8, 2), zero(conv(8, 8), 1e-41), head()),
}


@pytest.mark.slow
@pytest.mark.parametrize("backend", [LITERT, TENSORRT], ids=["litert", "tensorrt"])
@pytest.mark.parametrize("name", DEAD)
def test_dead_parts(images: CalibrationImages, name: str, backend: Int8Backend) -> None:
    """Every statistic over an empty selection has a value, and int8 computes what float does."""
    torch.manual_seed(0)
    net = DEAD[name]().eval()
    for recipe in ("balanced", "accurate", "fast"):
        program = export_program(net, SPEC)
        calibrated = calibrate(program, SPEC.normalization, images, load_recipe(recipe), backend)
        quantized = calibrated.quantize()
        ranking = calibrated.rank_layers(quantized, 4)
        assert len(ranking.order) >= 1
        pixels = torch.stack(
            [torch.from_numpy(preprocess(read_image(path), SPEC)) for path in images.held_out]
        )
        expected = run(net, normalize_pixels(pixels, SPEC.normalization))
        seen = run(quantized.program, pixels.float() - quantized.offset)
        assert torch.isfinite(seen).all()
        assert (seen - expected).norm() <= 0.1 * expected.norm() + 1e-3


@pytest.mark.parametrize("method", ["min-max", "moving-average", "percentile", "entropy", "mse"])
@pytest.mark.parametrize("scheme", list(ActivationScheme))
def test_ranges_of_tensors_that_hardly_fire(method: str, scheme: ActivationScheme) -> None:
    for values in (
        torch.zeros(2, 9000),
        torch.full((2, 9000), 1e-42),
        torch.cat([torch.zeros(2, 9000), torch.ones(2, 1)], dim=1),  # which no sample may contain
        torch.full((2, 9000), -3.0),
    ):
        statistics = TensorStatistics()
        statistics.update(values)
        low, high = choose_range(statistics, method, scheme)  # type: ignore[arg-type]
        assert low <= 0 <= high
        assert Range(low, high) == (0.0, 0.0) or high - low > 1e-35


def test_a_dead_first_layer_has_a_border(tmp_path: Path) -> None:
    from edgekit.rewrite.input_pixels import border_offset

    program = export_program(nn.Sequential(zero(conv(3, 8), 1.0), head()), SPEC)
    assert border_offset(program, SPEC.normalization) == 114
