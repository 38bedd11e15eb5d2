"""Networks in the styles that people write compute the same after all passes, and for pixels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from edgekit.rewrite.export import measure_rewriting, rewrite_graph, takes_batches, trace
from edgekit.rewrite.input_pixels import take_pixels
from edgekit.rewrite.pipeline import FLOAT_PASSES, INTEGER_PASSES, run_passes
from edgekit.spec import NORMALIZATIONS
from tests.quantize.nets import calls, relative_error, run, small_spec
from tests.rewrite.compare import CONV, Net, prepare, rewrite
from tests.rewrite.own_networks import ACTIVATIONS, NETWORKS, body, head, trunk

SIDE = 32
ONE_IMAGE = ("class_token", "patches", "written_items", "conditional_convolution")
"""Networks whose programs contain the batch size of one image."""
NORMALIZATION = NORMALIZATIONS["imagenet"]


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_ones_own(name: str) -> None:
    """Views of channels-last tensors, channel shuffles, layers without bias, batch norms in any
    place, arithmetic on the input: every network computes what PyTorch does, from pixels too."""
    torch.manual_seed(0)
    module = prepare(NETWORKS[name]())
    for passes in (FLOAT_PASSES, INTEGER_PASSES):
        if name in ONE_IMAGE:
            program = rewrite_graph(trace(module, small_spec(SIDE)), passes)
        else:
            program = rewrite(module, passes, (SIDE, SIDE))
    check_pixels(module)
    assert not any("batch_norm" in call for call in calls(program))


def check_pixels(module: nn.Module) -> GraphModule:
    """Assert that the float program computes the same of pixels; return it."""
    program = run_passes(trace(module, small_spec(SIDE)), FLOAT_PASSES)
    take_pixels(program, NORMALIZATION, 128, fold_mean=False)
    pixels = torch.randint(0, 256, (1, SIDE, SIDE, 3), dtype=torch.float64)
    mean, std = torch.tensor(NORMALIZATION.mean).double(), torch.tensor(NORMALIZATION.std).double()
    expected = run(module, ((pixels - mean) / std).permute(0, 3, 1, 2).contiguous())
    assert relative_error(run(program, pixels - 128), expected) < 1e-6
    return program


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    torch.manual_seed(0)
    make = ACTIVATIONS[name]
    layers = [nn.Conv2d(3, 8, 3, 2), make(), nn.Conv2d(8, 8, 3, groups=8), make(), head(8)]
    for passes in (FLOAT_PASSES, INTEGER_PASSES):
        rewrite(nn.Sequential(*layers), passes, (SIDE, SIDE))


@pytest.mark.parametrize(
    "name",
    [
        *("normalized_by_buffers", "normalized_by_numbers", "batch_norm_first"),
        *("grey_by_weights", "grey_by_mean", "other_order_of_colours"),
    ],
)
def test_arithmetic_on_the_input_is_folded(name: str) -> None:
    """Normalization, grey and the order of colours cost nothing: the first layer takes them in."""
    program = check_pixels(prepare(NETWORKS[name]()))
    assert calls(program)[:3] == ["aten.sub.Tensor", "aten.permute.default", CONV]
    plain = check_pixels(prepare(body(3)))
    assert calls(program) == calls(plain)


def test_grey_that_cannot_be_folded_stays_exact() -> None:
    """Two equal grey channels with different shifts: no pixel value makes both of them zero."""

    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = body(2)

        def forward(self, x: Tensor) -> Tensor:
            grey = x.mean(1, keepdim=True)
            return self.body(torch.cat([grey - 0.5, grey + 0.5], 1))

    program = check_pixels(prepare(Shifted()))
    assert calls(program).count(CONV) == 2


def test_depthwise_convolution_of_the_colours() -> None:
    layers = [nn.Conv2d(3, 6, 3, padding=1, groups=3), nn.ReLU(), nn.Conv2d(6, 8, 1), head(8)]
    check_pixels(prepare(nn.Sequential(*layers)))


def test_an_output_near_zero_is_no_alarm() -> None:
    """A logit near zero on one image: a difference of rounding is compared with the spread."""

    class Shifted(nn.Module):
        def __init__(self, inner: nn.Module, shift: float) -> None:
            super().__init__()
            self.inner = inner
            self.shift = shift

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) - self.shift

    torch.manual_seed(0)
    net = nn.Sequential(trunk(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 1)).eval()
    spec = small_spec(SIDE)
    noise = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    near_zero = Shifted(net, float(run(net, noise))).eval()
    assert run(near_zero, noise).abs() < 1e-6
    rewrite_graph(trace(near_zero, spec), INTEGER_PASSES)


@pytest.mark.parametrize("constant", [0.0, 3.0])
def test_a_constant_output_is_no_alarm(constant: float) -> None:
    layer = nn.Linear(16, 4)
    nn.init.zeros_(layer.weight)
    nn.init.constant_(layer.bias, constant)
    net = nn.Sequential(trunk(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), layer).eval()
    rewrite_graph(trace(net, small_spec(SIDE)), INTEGER_PASSES)


def test_amplified_rounding_is_no_alarm() -> None:
    """Of float32 no digit is left; float64 tells that the passes changed nothing."""
    fold = nn.Sequential(trunk(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4))
    net = Net(lambda net, x: torch.sin(1e7 * net.fold(x)), fold=fold).eval()
    traced = trace(net, small_spec(SIDE))
    program = rewrite_graph(traced, INTEGER_PASSES)
    assert measure_rewriting(traced, program) > 0.1


@pytest.mark.parametrize("layer", [nn.LSTM(16, 16, batch_first=True), nn.GRU(16, 16)])
def test_recurrent_layers_take_no_batches(layer: nn.Module) -> None:
    net = Net(
        lambda net, x: net.fc(net.layer(net.trunk(x).flatten(2).transpose(1, 2))[0][:, -1]),
        trunk=trunk(),
        layer=layer,
        fc=nn.Linear(16, 10),
    ).eval()
    assert not takes_batches(trace(net, small_spec(SIDE)))


@pytest.mark.parametrize(("name", "batches"), [("lenet", True), ("class_token", False)])
def test_a_program_that_contains_its_batch_size(name: str, batches: bool) -> None:
    assert takes_batches(trace(NETWORKS[name]().eval(), small_spec(SIDE))) is batches


def test_a_failure_of_the_networks_own_code_names_the_line() -> None:
    from edgekit.errors import ConversionError

    class Failing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("four channels, please")

    with pytest.raises(
        ConversionError,
        match=r"ValueError: four channels, please \(.*test_own_networks\.py, line [0-9]+\)",
    ):
        trace(Failing(), small_spec(SIDE))
