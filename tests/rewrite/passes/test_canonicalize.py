"""Each activation, pooling and batch norm gets its canonical form, and computes the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekit.rewrite.passes.canonicalize import ALWAYS_REPLACED, REWRITERS, find_uncanonical
from edgekit.rewrite.pipeline import FLOAT_PASSES, INTEGER_PASSES, Pass
from tests.quantize.nets import calls
from tests.rewrite.compare import ADD, CLAMP, CONV, HARD_SWISH, MUL, RELU, SUB, Net, rewrite

MEAN = "aten.mean.dim"
HARD_SIGMOID = [MUL, ADD, CLAMP]
ALL = pytest.mark.parametrize("passes", [FLOAT_PASSES, INTEGER_PASSES], ids=["float", "integer"])


def after_conv(function: Callable[[Tensor], Tensor], channels: int = 6) -> Net:
    return Net(lambda net, x: function(5 * net.conv(x)), conv=nn.Conv2d(3, channels, 3, padding=1))


@pytest.mark.parametrize(
    ("function", "form"),
    [
        (F.relu_, [RELU]),
        (lambda x: F.leaky_relu(x, 0.0), [RELU]),
        (lambda x: F.leaky_relu_(x, 0.0), [RELU]),
        (lambda x: F.leaky_relu_(x, 0.2), ["aten.leaky_relu.default"]),
        (F.relu6, [CLAMP]),
        (lambda x: F.relu6(x, inplace=True), [CLAMP]),
        (lambda x: F.hardtanh(x, -2, 3), [CLAMP]),
        (F.hardtanh, [CLAMP]),
        (F.hardtanh_, [CLAMP]),
        (lambda x: F.hardtanh_(x, -2.0), [CLAMP]),
        (lambda x: x.clamp(-2, 3), [CLAMP]),
        (lambda x: x.clamp(0), [RELU]),
        (lambda x: x.clamp(min=-1), ["aten.clamp.default"]),
        (lambda x: x.clamp(max=3), ["aten.clamp.default"]),
        (F.hardswish, [HARD_SWISH]),
        (lambda x: F.hardswish(x, inplace=True), [HARD_SWISH]),
        (F.hardsigmoid, HARD_SIGMOID),
        (lambda x: F.hardsigmoid(x, inplace=True), HARD_SIGMOID),
        (nn.Dropout(0.5).eval(), []),
        (lambda x: x.clone().contiguous(), []),
        (lambda x: F.adaptive_avg_pool2d(x, (1, 1)), [MEAN]),
        (lambda x: F.adaptive_avg_pool2d(x, 2), ["aten.avg_pool2d.default"]),
        (lambda x: F.adaptive_avg_pool2d(x, 3), ["aten.adaptive_avg_pool2d.default"]),
        (lambda x: x.transpose(2, 3), ["aten.permute.default"]),
        (lambda x: x.narrow(2, 1, 3), ["aten.slice.Tensor"]),
        (lambda x: x.repeat(1, 2, 1, 1), ["aten.cat.default"]),
        (lambda x: x * torch.ones(8, dtype=x.dtype).cumsum(0), ["aten.mul.Tensor"]),
        (lambda x: F.adaptive_max_pool2d(x, 1), ["aten.max_pool2d.default"]),
        (lambda x: F.adaptive_max_pool2d(x, (2, None)), ["aten.max_pool2d.default"]),
        (
            lambda x: F.adaptive_max_pool2d(x, 3),
            ["aten.adaptive_max_pool2d.default", "<built-in function getitem>"],
        ),
        (lambda x: F.avg_pool2d(x, 8), [MEAN]),
        (lambda x: F.avg_pool2d(x, (8, 4)), ["aten.avg_pool2d.default"]),
    ],
)
def test_operators_have_one_form(function: Callable[[Tensor], Tensor], form: list[str]) -> None:
    program = rewrite(after_conv(function), "canonicalize")
    assert calls(program) == [CONV, MUL, *form]
    assert not list(find_uncanonical(program))


@pytest.mark.parametrize(
    ("function", "form"),
    [
        (lambda y, z: y.add_(z), [ADD]),
        (lambda y, z: y.sub_(z), [SUB]),
        (lambda y, z: y.mul_(z), [MUL]),
        (lambda y, z: y.div_(z.exp()), ["aten.exp.default", "aten.div.Tensor"]),
        (lambda y, z: y.mul_(2).add_(z), [MUL, ADD]),
        (lambda y, z: y.clamp_(0, 6) + z, [CLAMP, ADD]),
        (lambda y, z: y.clamp_min(0) + z, [RELU, ADD]),
    ],
)
def test_arithmetic_in_place_has_the_one_form(
    function: Callable[[Tensor, Tensor], Tensor], form: list[str]
) -> None:
    """`x += y` is how many networks write a residual; quantization knows `x + y` alone."""

    def whole(net: Net, x: Tensor) -> Tensor:
        y = net.first(x)
        changed = function(y, net.second(x))
        return changed + y

    net = Net(whole, first=nn.Conv2d(3, 6, 1), second=nn.Conv2d(3, 6, 1))
    assert calls(rewrite(net, "canonicalize")) == [CONV, CONV, *form, ADD]


@pytest.mark.parametrize("kernel", [1, 3, (5, 1)])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("dilation", [1, 2])
def test_padding_by_name_is_padding(
    kernel: int | tuple[int, int], padding: str, dilation: int
) -> None:
    conv = nn.Conv2d(3, 6, kernel, padding=padding, dilation=dilation, bias=False)
    program = rewrite(nn.Sequential(conv, nn.BatchNorm2d(6)), "fold batch norm", (12, 12))
    assert calls(program) == [CONV]


def test_what_must_be_replaced_has_a_rewriter() -> None:
    assert set(ALWAYS_REPLACED) <= set(REWRITERS)


@pytest.mark.parametrize("maximum", [torch.maximum, torch.max])
def test_the_maximum_of_two_tensors_is_a_relu(maximum: Callable[..., Tensor]) -> None:
    net = Net(
        lambda net, x: maximum(net.first(x), net.second(x)),
        first=nn.Conv2d(3, 6, 1),
        second=nn.Conv2d(3, 6, 1),
    )
    assert calls(rewrite(net, "canonicalize")) == [CONV, CONV, SUB, RELU, ADD]


@pytest.mark.parametrize("swapped", [False, True])
def test_the_maximum_of_an_image_and_a_value_a_channel(swapped: bool) -> None:
    def function(net: Net, x: Tensor) -> Tensor:
        pair = net.image(x), net.gate(x.mean((2, 3), keepdim=True))
        return torch.maximum(*(reversed(pair) if swapped else pair))

    net = Net(function, image=nn.Conv2d(3, 6, 1), gate=nn.Conv2d(3, 6, 1))
    rewrite(net, "canonicalize")


def test_the_maximum_with_itself_is_itself() -> None:
    rewrite(after_conv(lambda x: torch.maximum(x, x)), "canonicalize")


def test_readers_after_an_in_place_activation_read_its_result() -> None:
    rewrite(after_conv(lambda x: F.relu_(x) + 2 * x), "canonicalize")


def test_an_in_place_activation_reaches_the_slices_taken_before() -> None:
    def function(x: Tensor) -> Tensor:
        first = x[:, :2]
        F.relu_(x)
        return first + 1

    rewrite(after_conv(function), "canonicalize")


@ALL
@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.avg_pool2d(x, 8, padding=2),
        lambda x: F.avg_pool2d(x, 8, padding=2, count_include_pad=False),
        lambda x: F.avg_pool2d(x, 8, divisor_override=7),
        lambda x: F.avg_pool2d(x, 8, ceil_mode=True),
    ],
    ids=["padding", "padding not counted", "divisor", "ceil"],
)
def test_pooling_that_is_not_a_mean_stays(
    function: Callable[[Tensor], Tensor], passes: tuple[Pass, ...]
) -> None:
    rewrite(after_conv(function), passes)


@ALL
@pytest.mark.parametrize(
    "bounds", [(0.0, float("inf")), (float("-inf"), 2.0), (3.0, 1.0), (0.0, -1.0), (1, 1), (0, 0)]
)
def test_unusual_bounds(bounds: tuple[float, float], passes: tuple[Pass, ...]) -> None:
    """No upper bound, no lower one; PyTorch takes the upper one where they are crossed."""

    def function(net: Net, x: Tensor) -> Tensor:
        y = net.conv(x)
        return net.last(torch.cat([y.clamp(*bounds), F.relu(y)], 1))

    rewrite(Net(function, conv=nn.Conv2d(3, 4, 1), last=nn.Conv2d(8, 4, 1)), passes)
    before = Net(lambda net, x: x + net.conv(x).clamp(*bounds), conv=nn.Conv2d(3, 3, 1))
    rewrite(before, passes)


@ALL
def test_weights_that_are_computed_are_constants(passes: tuple[Pass, ...]) -> None:
    """Weight norm, and parameters that are reshaped where they are used."""
    normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 6, 3))
    scale = nn.Parameter(torch.rand(6))
    net = Net(lambda net, x: net.conv(x) * net.scale.view(1, -1, 1, 1), conv=normed, scale=scale)
    program = rewrite(net, passes)
    assert calls(program) == [CONV]


def test_a_layer_used_twice_gets_two_sets_of_weights() -> None:
    net = Net(
        lambda net, x: net.first(net.conv(x)) * net.second(net.conv(x.flip(3))),
        conv=nn.Conv2d(3, 6, 3),
        first=nn.BatchNorm2d(6),
        second=nn.BatchNorm2d(6),
    )
    program = rewrite(net, "fold batch norm")
    assert calls(program).count("aten.batch_norm.default") == 0


@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize("axes", [3, 4, 5])
def test_attention_of_any_number_of_axes(axes: int, scale: float | None) -> None:
    """torch.onnx writes attention of four axes alone."""
    sides = {3: (-1, 16, 4), 4: (-1, 4, 16, 4), 5: (-1, 2, 2, 16, 4)}[axes]

    def attend(x: Tensor) -> Tensor:
        x = x.reshape(*sides)
        return F.scaled_dot_product_attention(x, 2 * x, x, scale=scale).reshape(-1, 4, 8, 8)

    program = rewrite(after_conv(attend, channels=4), INTEGER_PASSES)
    kept = [call for call in calls(program) if "scaled_dot" in call]
    assert len(kept) == (axes == 4)
