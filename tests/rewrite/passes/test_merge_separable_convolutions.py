"""A k×1 and a 1×k convolution are merged to one that computes the same, borders included."""

from __future__ import annotations

import pytest
import torch.nn.functional as F
from torch import Tensor, nn

from edgekit.models.layers import LayerOptions
from edgekit.models.micro_layers import MicroFactorizedDepthwise
from edgekit.rewrite.graph import CONVOLUTION, aten, read_constant, read_weight
from tests.quantize.nets import calls
from tests.rewrite.compare import ADD, CONV, Net, find, rewrite, rewrite_fully

MERGE = "merge separable convolutions"
Pair = tuple[int, int]


def conv(inputs: int, outputs: int, kernel: Pair, groups: int, **options: object) -> nn.Module:
    """A convolution and its batch norm, whose bias is not zero."""
    options.setdefault("padding", (kernel[0] // 2, kernel[1] // 2))
    layer = nn.Conv2d(inputs, outputs, kernel, groups=groups, bias=False, **options)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


def pair(
    kernel: int = 3,
    stride: int = 1,
    multipliers: Pair = (2, 2),
    *,
    flat_first: bool = False,
    channels: int = 4,
) -> list[nn.Module]:
    """A 1×1 convolution, then the two of a depthwise pair."""
    middle = channels * multipliers[0]
    shapes, strides = [(kernel, 1), (1, kernel)], [(stride, 1), (1, stride)]
    if flat_first:
        shapes, strides = shapes[::-1], strides[::-1]
    first = conv(channels, middle, shapes[0], channels, stride=strides[0])
    second = conv(middle, middle * multipliers[1], shapes[1], middle, stride=strides[1])
    return [nn.Conv2d(3, channels, 1), first, second]


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (8, 11), (5, 6)])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("flat_first", [False, True])
def test_a_pair_is_merged(size: Pair, kernel: int, stride: int, flat_first: bool) -> None:
    layers = pair(kernel, stride, flat_first=flat_first)
    program = rewrite(nn.Sequential(*layers), MERGE, size)
    assert calls(program) == [CONV, CONV, ADD]
    (border,) = (node for node in program.graph.nodes if "border" in str(node.target))
    line = read_constant(program, border)
    output = find(program, CONVOLUTION)[1].meta["val"].shape
    assert line.shape == (1, 16, *((output[2], 1) if flat_first else (1, output[3])))
    side = 2 if flat_first else 3
    assert line.narrow(side, line.shape[side] // 2, 1).abs().max() == 0
    assert line.narrow(side, 0, 1).abs().min() > 0


@pytest.mark.parametrize("multipliers", [(1, 2), (2, 1), (3, 2), (1, 5)])
@pytest.mark.parametrize("flat_first", [False, True])
def test_both_may_multiply_the_channels(multipliers: Pair, flat_first: bool) -> None:
    layers = pair(multipliers=multipliers, stride=2, flat_first=flat_first)
    program = rewrite(nn.Sequential(*layers), MERGE, (9, 8))
    weight = read_weight(program, find(program, CONVOLUTION)[1])
    assert weight.shape == (4 * multipliers[0] * multipliers[1], 1, 3, 3)
    rewrite_fully(nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(weight.shape[0], 3, 1)))


def test_a_pair_that_keeps_the_channels_stays() -> None:
    assert calls(rewrite(nn.Sequential(*pair(multipliers=(1, 1))), MERGE)) == [CONV] * 3


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("size", [(8, 8), (9, 7)])
def test_a_stem_is_merged(groups: int, size: Pair) -> None:
    layers = [conv(3, 6, (3, 1), groups, stride=(2, 1)), conv(6, 12, (1, 3), 6, stride=(1, 2))]
    program = rewrite(nn.Sequential(*layers), MERGE, size)
    assert calls(program) == [CONV, ADD]


def test_a_first_convolution_of_many_channels_stays() -> None:
    layers = [nn.Conv2d(3, 5, 1), conv(5, 6, (3, 1), 1), conv(6, 12, (1, 3), 6)]
    assert calls(rewrite(nn.Sequential(*layers), MERGE)) == [CONV] * 3


def test_without_a_bias_there_is_no_border() -> None:
    layers = [
        nn.Conv2d(3, 6, (3, 1), padding=(1, 0), bias=False),
        nn.Conv2d(6, 12, (1, 3), padding=(0, 1), groups=6),
    ]
    assert calls(rewrite(nn.Sequential(*layers), MERGE)) == [CONV]


def test_without_padding_there_is_no_border() -> None:
    layers = [conv(3, 6, (3, 1), 1, padding=0), conv(6, 12, (1, 3), 6, padding=0)]
    assert calls(rewrite(nn.Sequential(*layers), MERGE)) == [CONV]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (9, 8), (7, 9)])
def test_same_padding(stride: int, size: Pair) -> None:
    """TensorFlow's padding is a pad before each convolution where its sides differ."""
    options = LayerOptions(padding="same")
    layer = MicroFactorizedDepthwise(4, 3, stride, options, (2, 2))
    net = nn.Sequential(nn.Conv2d(3, 4, 1), layer, nn.Conv2d(16, 4, 1))
    rewrite(net, MERGE, size)
    rewrite(net, "write numbers as tensors", size)


def test_a_pad_before_the_pair() -> None:
    net = nn.Sequential(
        nn.ZeroPad2d((2, 1, 0, 3)),
        conv(3, 6, (3, 1), 1, padding=0),
        conv(6, 12, (1, 3), 6, padding=0),
    )
    assert calls(rewrite(net, MERGE))[1:] == [CONV]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"stride": 2}, {}),
        ({"stride": (1, 2)}, {}),
        ({"stride": (2, 3)}, {"stride": (2, 2)}),
        ({}, {"stride": 2}),
        ({}, {"stride": (2, 1)}),
        ({"padding": 1}, {"padding": 0}),
        ({"padding": (0, 1)}, {"padding": 0}),
        ({"padding": 0}, {"padding": 1}),
        ({"padding": 0}, {"padding": (1, 0)}),
        ({"padding": 1}, {"padding": 1}),
        ({"padding": (2, 0)}, {"padding": (0, 2)}),
        ({"dilation": (2, 1), "padding": (2, 0)}, {}),
        ({}, {"dilation": (1, 2), "padding": (0, 2)}),
    ],
    ids=str,
)
@pytest.mark.parametrize("flat_first", [False, True])
def test_other_strides_and_paddings(
    first: dict[str, object], second: dict[str, object], flat_first: bool
) -> None:
    """Pairs with strides and paddings across a kernel are merged only where that is exact."""

    def turn(options: dict[str, object]) -> dict[str, object]:
        if not flat_first:
            return options
        return {k: v[::-1] if isinstance(v, tuple) else v for k, v in options.items()}

    kernels = [(1, 3), (3, 1)] if flat_first else [(3, 1), (1, 3)]
    layers = [conv(3, 6, kernels[0], 1, **turn(first)), conv(6, 12, kernels[1], 6, **turn(second))]
    rewrite(nn.Sequential(*layers), MERGE, (11, 12))


@pytest.mark.parametrize("kernels", [((3, 1), (3, 1)), ((3, 3), (1, 3)), ((3, 1), (1, 1))])
def test_kernels_that_do_not_cross_stay(kernels: tuple[Pair, Pair]) -> None:
    layers = [conv(3, 6, kernels[0], 1), conv(6, 12, kernels[1], 6)]
    assert calls(rewrite(nn.Sequential(*layers), MERGE)) == [CONV] * 2


def test_a_pair_whose_middle_is_read_stays() -> None:
    def function(net: Net, x: Tensor) -> Tensor:
        y = net.first(x)
        return net.second(y) + y.mean((1, 2, 3), keepdim=True)

    net = Net(function, first=conv(3, 6, (3, 1), 1), second=conv(6, 12, (1, 3), 6))
    assert calls(rewrite(net, MERGE)).count(CONV) == 2
    with_activation = [conv(3, 6, (3, 1), 1), nn.ReLU(), conv(6, 12, (1, 3), 6)]
    assert calls(rewrite(nn.Sequential(*with_activation), MERGE)).count(CONV) == 2


def test_three_in_a_row() -> None:
    layers = [conv(3, 6, (3, 1), 1), conv(6, 12, (1, 3), 6), conv(12, 24, (3, 1), 12)]
    assert calls(rewrite(nn.Sequential(*layers), MERGE)).count(CONV) == 2


def test_the_border_moves_with_its_channels() -> None:
    """After a merged pair the channels are shuffled and convolved in groups."""

    def function(net: Net, x: Tensor) -> Tensor:
        y = F.relu(F.channel_shuffle(net.pair(x), 4))
        return net.last(y + y.roll(3, 1))

    net = Net(function, pair=nn.Sequential(*pair()), last=nn.Conv2d(16, 8, 1, groups=4))
    program = rewrite(net, "join small groups")
    assert find(program, aten.add.Tensor)
