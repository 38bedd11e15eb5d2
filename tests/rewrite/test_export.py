"""The passes that bring a program into canonical form keep its function."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edgekit.errors import ConversionError
from edgekit.rewrite.export import export_program, writes_through_aliases
from edgekit.rewrite.graph import aten, is_call, read_bias, read_weight
from edgekit.rewrite.input_pixels import border_offset, take_pixels
from edgekit.spec import NORMALIZATIONS
from tests.quantize.nets import (
    calls,
    conv_bn,
    export,
    random_input,
    relative_error,
    run,
    small_net,
    small_spec,
    weighted_nodes,
)

RELU, HARDTANH, MEAN = "aten.relu.default", "aten.hardtanh.default", "aten.mean.dim"


class Function(nn.Module):
    """A convolution, then whatever `function` computes."""

    def __init__(self, function: object) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.conv(x))  # type: ignore[operator]


def test_batch_norm_is_folded() -> None:
    net = small_net()
    program = export_program(net, small_spec())
    assert not any("batch_norm" in name for name in calls(program))
    x = random_input()
    seen = run(program, x)
    expected = run(net.double(), x.double())
    assert relative_error(seen, expected) < 2e-6


@pytest.mark.parametrize("variance", [5.6e-45, 0.0, 1e-30])
def test_dead_channels_fold_to_finite_numbers(variance: float) -> None:
    torch.manual_seed(0)
    conv, norm = conv_bn(3, 8)
    with torch.no_grad():
        norm.running_var[2:5] = variance
        norm.running_mean[2:5] = 0
        conv.weight[2:5] *= 1e-20
        norm.weight[3] = 5e-4
    program = export(conv, norm)
    (node,) = weighted_nodes(program)
    assert torch.isfinite(read_weight(program, node)).all()
    assert torch.isfinite(read_bias(program, node)).all()
    x = random_input()
    expected = run(nn.Sequential(conv, norm).double().eval(), x.double())
    assert relative_error(run(program, x), expected) < 1e-6


def test_batch_norm_without_weights_is_folded() -> None:
    conv, norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, affine=False)
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    program = export(conv, norm)
    assert calls(program) == ["aten.conv2d.default"]
    x = random_input()
    assert relative_error(run(program, x), run(nn.Sequential(conv, norm).eval(), x)) < 1e-6


def test_batch_norm_after_a_linear_layer_is_folded() -> None:
    net = small_net()
    norm = nn.BatchNorm1d(10)
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    net.append(norm.eval())
    program = export_program(net, small_spec())
    assert not any("batch_norm" in name for name in calls(program))
    x = random_input()
    assert relative_error(run(program, x), run(net, x)) < 2e-6


def test_batch_norm_is_a_convolution_where_the_one_before_has_another_reader() -> None:
    class Fork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = conv_bn(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return self.norm(y) + y

    net = Fork().eval()
    program = export_program(net, small_spec())
    conv = "aten.conv2d.default"
    assert calls(program) == [conv, conv, "aten.add.Tensor"]
    x = random_input()
    assert relative_error(run(program, x), run(net, x)) < 1e-6


@pytest.mark.parametrize(
    ("activation", "form"),
    [
        (nn.ReLU(), RELU),
        (nn.ReLU(inplace=True), RELU),
        (nn.LeakyReLU(0.0), RELU),
        (nn.LeakyReLU(0.0, inplace=True), RELU),
        (nn.ReLU6(), HARDTANH),
        (nn.Hardtanh(0.0, 6.0), HARDTANH),
        (nn.Hardtanh(0.0, 6.0, inplace=True), HARDTANH),
        (Function(lambda x: x.clamp(0, 6)), HARDTANH),
        (Function(lambda x: x.clamp(min=0)), RELU),
        (Function(lambda x: x.clamp(-1, 1)), HARDTANH),
        (Function(lambda x: x.clamp(max=3)), "aten.clamp.default"),
        (nn.LeakyReLU(0.1), "aten.leaky_relu.default"),
    ],
    ids=str,
)
def test_activations_have_one_form(activation: nn.Module, form: str) -> None:
    torch.manual_seed(0)
    first = [] if isinstance(activation, Function) else [nn.Conv2d(3, 6, 3, padding=1)]
    net = nn.Sequential(*first, activation)
    x = 5 * random_input()
    expected = run(net, x)
    program = export_program(net, small_spec())
    assert calls(program) == ["aten.conv2d.default", form]
    assert torch.equal(run(program, x), expected)


@pytest.mark.parametrize(
    "pooling",
    [
        nn.AdaptiveAvgPool2d(1),
        nn.AdaptiveAvgPool2d((1, 1)),
        nn.AvgPool2d(16),
        Function(lambda x: x.mean((2, 3), keepdim=True)),
    ],
    ids=["adaptive", "adaptive pair", "whole map", "mean"],
)
def test_global_pooling_has_one_form(pooling: nn.Module) -> None:
    torch.manual_seed(0)
    first = [] if isinstance(pooling, Function) else [nn.Conv2d(3, 6, 3, padding=1)]
    net = nn.Sequential(*first, pooling, nn.Dropout(0.5), nn.Flatten()).eval()
    x = random_input()
    program = export_program(net, small_spec())
    assert calls(program) == ["aten.conv2d.default", MEAN, "aten.flatten.using_ints"]
    assert relative_error(run(program, x), run(net, x)) < 1e-5


def test_pooling_of_a_part_stays() -> None:
    program = export(nn.Conv2d(3, 6, 3, padding=1), nn.AvgPool2d(2))
    assert calls(program)[1] == "aten.avg_pool2d.default"


@pytest.mark.parametrize("normalization", sorted(NORMALIZATIONS))
@pytest.mark.parametrize("offset", [0, 117, 128, 255])
def test_pixels_as_input_are_exact_without_folding_the_mean(
    normalization: str, offset: int
) -> None:
    net, spec = small_net(), small_spec(normalization=normalization)
    program = export_program(net, spec)
    take_pixels(program, spec.normalization, offset, fold_mean=False)
    pixels = torch.randint(0, 256, (2, 16, 16, 3)).float()
    assert relative_error(run(program, pixels - offset), expect(net, pixels, spec)) < 2e-5


def test_folding_the_mean_changes_the_border_alone() -> None:
    torch.manual_seed(0)
    net, spec = nn.Sequential(*conv_bn(3, 8)).eval(), small_spec()
    program = export_program(net, spec)
    take_pixels(program, spec.normalization, 117, fold_mean=True)
    assert calls(program) == ["aten.permute.default", "aten.conv2d.default"]
    pixels = torch.randint(0, 256, (2, 16, 16, 3)).float()
    seen, expected = run(program, pixels - 117), expect(net, pixels, spec)
    inside = (..., slice(1, -1), slice(1, -1))
    assert relative_error(seen[inside], expected[inside]) < 1e-5
    assert 0 < relative_error(seen, expected) < 0.05


def test_folding_the_mean_into_grey_is_exact_everywhere() -> None:
    """Where the mean is the offset, zero padding means the same before and after."""
    net, spec = small_net(), small_spec(normalization="half")
    program = export_program(net, spec)
    take_pixels(program, spec.normalization, 128, fold_mean=True)
    pixels = torch.randint(0, 256, (2, 16, 16, 3)).float()
    assert relative_error(run(program, pixels - 128), expect(net, pixels, spec)) < 2e-6


def test_border_offset_is_the_weighted_mean() -> None:
    conv = nn.Conv2d(3, 4, 3)
    imagenet = NORMALIZATIONS["imagenet"]
    for channel, expected in enumerate(imagenet.mean):
        with torch.no_grad():
            conv.weight.zero_()
            conv.weight[:, channel] = 1
        assert border_offset(export(conv), imagenet) == round(expected)
    assert border_offset(export(nn.Conv2d(3, 4, 3)), NORMALIZATIONS["half"]) == 128
    assert border_offset(export(nn.Conv2d(3, 4, 3)), NORMALIZATIONS["none"]) == 0


def test_pixels_go_through_a_leading_pad() -> None:
    net = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 4, 3, 2), nn.ReLU()).eval()
    spec = small_spec(normalization="half")
    program = export_program(net, spec)
    take_pixels(program, spec.normalization, 128, fold_mean=True)
    pixels = torch.randint(0, 256, (2, 16, 16, 3)).float()
    assert relative_error(run(program, pixels - 128), expect(net, pixels, spec)) < 2e-6


def test_a_network_that_does_not_begin_with_a_convolution_gets_one() -> None:
    net, spec = nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, 3)).eval(), small_spec()
    program = export_program(net, spec)
    take_pixels(program, spec.normalization, 128, fold_mean=True)
    pixels = torch.randint(0, 256, (2, 16, 16, 3)).float()
    assert relative_error(run(program, pixels - 128), expect(net, pixels, spec)) < 2e-6


def test_control_flow_that_depends_on_values_is_refused() -> None:
    class Branch(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(ConversionError, match=r"cannot trace this Branch: .*control flow") as info:
        export_program(Branch(), small_spec())
    assert "\n" not in str(info.value)


def test_any_batch_size_runs() -> None:
    net = small_net()
    program = export_program(net, small_spec())
    x = random_input(7)
    assert relative_error(run(program, x), run(net, x)) < 1e-5
    assert not any(is_call(node, aten.dropout.default) for node in program.graph.nodes)


def expect(net: nn.Module, pixels: Tensor, spec: object) -> Tensor:
    """What the float module makes of `(N, H, W, 3)` pixels."""
    normalization = spec.normalization  # type: ignore[attr-defined]
    x = (pixels - torch.tensor(normalization.mean)) / torch.tensor(normalization.std)
    return run(net, x.permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    "dropout", [nn.Dropout, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout]
)
@pytest.mark.parametrize("inplace", [False, True])
def test_dropouts_are_dropped(dropout: type[nn.Module], inplace: bool) -> None:
    """In place on a view, too, as torchvision writes it; no alias is followed for that."""
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        dropout(0.5, inplace),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.5, inplace),
        nn.Linear(8, 4),
    ).eval()
    image = torch.randn(1, 3, 8, 8)
    exported = torch.export.export(net, (image,))
    assert not writes_through_aliases(exported.graph)
    program = export_program(net, small_spec(8))
    assert not any("dropout" in str(node.target) for node in program.graph.nodes)
    assert torch.equal(program(image), net(image))
