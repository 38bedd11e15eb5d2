"""Operators that read or make reordered channels get them in the order that they need."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekit.models.layers import SqueezeExcite
from edgekit.models.micro_layers import roll_channels, shuffle_channels
from edgekit.rewrite.passes.arrange_channels import MOST_RUNS
from tests.quantize.nets import calls
from tests.rewrite.compare import ADD, CAT, CONV, Net, rewrite_fully, widths
from tests.rewrite.passes.test_arrange_channels import pointwise

pytestmark = pytest.mark.slow


def around(function: Callable[[Net, Tensor], Tensor], **layers: nn.Module | nn.Parameter) -> Net:
    """Stem and shuffle before `function`, shuffle and grouped convolution after it."""

    def whole(net: Net, x: Tensor) -> Tensor:
        y = function(net, shuffle_channels(F.relu(net.stem(x)), 3))
        return net.last(shuffle_channels(y, 4))

    return Net(whole, stem=pointwise(3, 24), last=pointwise(24, 8, 2), **layers)


def gate_a_pixel(net: Net, y: Tensor) -> Tensor:
    return y * torch.sigmoid(y.mean(1, keepdim=True)) + y.amax(1, keepdim=True)


MEETINGS: dict[str, tuple[Callable[[Net, Tensor], Tensor], dict[str, nn.Module | nn.Parameter]]] = {
    "squeeze and excite": (lambda net, y: net.gate(y), {"gate": SqueezeExcite(24)}),
    "gate a pixel": (gate_a_pixel, {}),
    "constants": (
        lambda net, y: (y * net.slope + net.shift) * net.column - net.row,
        {
            "slope": nn.Parameter(torch.rand(24, 1, 1)),
            "shift": nn.Parameter(torch.rand(1, 24, 1, 1)),
            "column": nn.Parameter(torch.rand(1, 24, 8, 1)),
            "row": nn.Parameter(torch.rand(8)),
        },
    ),
    "constant on the left": (
        lambda net, y: net.slope / (y + 1) - net.slope * y,
        {"slope": nn.Parameter(torch.rand(24, 1, 1))},
    ),
    "batch norm alone": (lambda net, y: net.norm(y), {"norm": nn.BatchNorm2d(24)}),
    "softmax": (lambda net, y: y * F.softmax(y, 1), {}),
    "layer norm, channels last": (
        lambda net, y: net.norm(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
        {"norm": nn.LayerNorm(24)},
    ),
    "linear, channels last": (
        lambda net, y: net.linear(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
        {"linear": nn.Linear(24, 24)},
    ),
    "prelu": (lambda net, y: net.act(y - 0.3), {"act": nn.PReLU(24)}),
    "upsampling": (lambda net, y: F.interpolate(y, scale_factor=2), {}),
    "pad": (lambda net, y: F.max_pool2d(F.pad(y, (1, 0, 1, 0)), 3, 2), {}),
    "in place": (lambda net, y: y.add_(y.mean((2, 3), True)).mul_(2), {}),
    "padding by name": (
        lambda net, y: net.conv(y),
        {"conv": nn.Conv2d(24, 24, 3, padding="same")},
    ),
    "transposed": (lambda net, y: net.conv(y), {"conv": nn.ConvTranspose2d(24, 24, 2, 2)}),
    "two halves": (lambda net, y: torch.cat([y[:, 12:].sigmoid(), y[:, :12]], 1), {}),
    "one half twice": (lambda net, y: torch.cat([y[:, 12:].tanh(), y[:, 12:]], 1), {}),
    "unequal branches": (
        lambda net, y: torch.cat([net.first(y[:, :9]), y[:, 9:]], 1),
        {"first": pointwise(9, 9, 3)},
    ),
}


@pytest.mark.parametrize("name", MEETINGS)
def test_what_meets_a_shuffled_tensor(name: str) -> None:
    function, layers = MEETINGS[name]
    rewrite_fully(around(function, **layers), moves=2 if "last" in name else 0)


# --- The end of the network ----------------------------------------------------------------------


POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda y: y.mean((2, 3)),
    "kept mean": lambda y: y.mean((-1, -2), keepdim=True).flatten(1),
    "view": lambda y: F.adaptive_avg_pool2d(y, 1).view(y.shape[0], -1),
    "image": lambda y: y.flatten(1),
    "four pixels, view": lambda y: F.max_pool2d(y, 4).reshape(-1, 96),
    "columns": lambda y: y.mean(3).flatten(1),
    "amax": lambda y: y.amax((2, 3)),
}


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("shuffled", [False, True])
def test_linear_heads(name: str, shuffled: bool) -> None:
    """After a flattened image a linear layer's columns are pixels of channels, in network order."""
    pool = POOLS[name]

    def function(net: Net, x: Tensor) -> Tensor:
        y = F.relu(net.second(shuffle_channels(F.relu(net.first(x)), 3)))
        return net.head(pool(shuffle_channels(y, 4) if shuffled else y))

    inputs = pool(torch.zeros(1, 24, 8, 8)).shape[1]
    layers = {"first": pointwise(3, 24), "second": pointwise(24, 24, 2)}
    program = rewrite_fully(Net(function, **layers, head=nn.Linear(inputs, 5)))
    assert CAT not in calls(program)


@pytest.mark.parametrize(
    "end",
    [
        lambda y: shuffle_channels(y, 4),
        lambda y: y + shuffle_channels(y, 4),
        lambda y: y + y.roll(3, 1),
        lambda y: y.flip(1),
        lambda y: y[:, 5:],
        lambda y: torch.cat([y, y.roll(1, 1)], 1),
    ],
)
def test_an_image_as_output(end: Callable[[Tensor], Tensor]) -> None:
    net = Net(lambda net, x: end(F.relu(net.first(x))), first=pointwise(3, 24))
    rewrite_fully(net)


def test_the_input_beside_what_is_made_of_it() -> None:
    rewrite_fully(Net(lambda net, x: net.first(x) + x.roll(1, 1), first=pointwise(3, 3)))
    rewrite_fully(Net(lambda net, x: net.first(x.flip(1)) * (x + x.flip(1)), first=pointwise(3, 3)))


# --- Readers that need the network's numbering ---------------------------------------------------


def test_both_parts_of_a_chunk_apart() -> None:
    def function(net: Net, x: Tensor) -> Tensor:
        first, second = F.relu(net.stem(x)).chunk(2, 1)
        return net.first(shuffle_channels(first, 2)).mean((2, 3)) * net.second(second).amax((2, 3))

    net = Net(
        function, stem=pointwise(3, 24), first=pointwise(12, 6, 3), second=pointwise(12, 6, 2)
    )
    rewrite_fully(net)


def test_a_tensor_and_its_shuffle_are_both_read_as_they_are() -> None:
    def function(net: Net, x: Tensor) -> Tensor:
        y = F.relu(net.first(x))
        return torch.cat(
            [
                F.interpolate(y, scale_factor=2),
                F.interpolate(shuffle_channels(y, 2), scale_factor=2),
            ],
            1,
        )

    rewrite_fully(Net(function, first=pointwise(3, 8)))


def test_a_shuffle_is_read_as_it_is_twice() -> None:
    def function(net: Net, x: Tensor) -> Tensor:
        y = F.relu(net.first(x))
        z = shuffle_channels(y, 2)
        return F.softmax(z, 1) * z.cumsum(1) + F.softmax(y, 1)

    rewrite_fully(Net(function, first=pointwise(3, 8)))


def test_a_roll_is_read_as_it_is() -> None:
    """Two rolls choose the order; a reader of one of them needs network order."""

    def function(net: Net, x: Tensor) -> Tensor:
        y = F.relu(net.first(x))
        once, twice = roll_channels(y, 8), roll_channels(roll_channels(y, 8), 8)
        return net.last(y + once * 0.5 + twice * 0.3) * F.softmax(once, 1).amax(1, keepdim=True)

    rewrite_fully(Net(function, first=pointwise(3, 32), last=pointwise(32, 4)))


def test_what_is_made_in_the_networks_order_is_reordered_once() -> None:
    def function(net: Net, x: Tensor) -> Tensor:
        y = F.softmax(net.first(x), 1)
        once, twice = roll_channels(y, 8), roll_channels(roll_channels(y, 8), 8)
        return net.last(y + once * 0.5 + twice * 0.3) * y.cumsum(1).amax(1, keepdim=True)

    program = rewrite_fully(Net(function, first=pointwise(3, 32), last=pointwise(32, 4)))
    assert sum(width > MOST_RUNS for width in widths(program)) <= 2


def test_several_outputs_of_a_residual_are_joined() -> None:
    def function(net: Net, x: Tensor) -> Tensor:
        y = F.relu(net.first(x))
        z = y + shuffle_channels(net.second(y), 4)
        return torch.cat([net.last(z), z, y], 1)

    net = Net(function, first=pointwise(3, 16), second=pointwise(16, 16, 4), last=pointwise(16, 4))
    program = rewrite_fully(net)
    assert calls(program).count(CONV) == 3 and calls(program).count(ADD) == 1
