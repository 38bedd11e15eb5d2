"""Small groups of convolutions are joined, and compute the same."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.fx import GraphModule

from edgekit.rewrite.export import trace
from edgekit.rewrite.graph import CONVOLUTION, argument, clean_up, read_weight
from edgekit.rewrite.passes.join_small_groups import expand_groups, join_small_groups
from tests.quantize.nets import relative_error, run, small_spec
from tests.rewrite.compare import (
    TOLERANCE,
    find,
    images,
    prepare,
    rewrite,
)


@pytest.mark.parametrize(
    ("channels", "multiplier", "only_whole", "groups"),
    [
        (4, 2, False, 1),
        (4, 2, True, 1),
        (16, 2, False, 2),
        (16, 2, True, 16),
        (12, 4, False, 3),
        (12, 16, False, 12),
        (7, 3, False, 1),
        (7, 3, True, 1),
        (8, 1, False, 8),
    ],
)
@pytest.mark.parametrize("bias", [False, True])
def test_small_groups_are_joined(
    channels: int, multiplier: int, only_whole: bool, groups: int, bias: bool
) -> None:
    depthwise = nn.Conv2d(
        channels, channels * multiplier, 3, 2, padding=1, groups=channels, bias=bias
    )
    net = prepare(nn.Sequential(nn.Conv2d(3, channels, 1), depthwise))
    program = trace(net, small_spec(8))
    join_small_groups(program, only_whole=only_whole)
    clean_up(program)
    node = find(program, CONVOLUTION)[1]
    assert argument(node, 6, 1) == groups
    weight = read_weight(program, node)
    assert weight.shape == (channels * multiplier, channels // groups, 3, 3)
    assert torch.equal(weight.sum(1, keepdim=True), depthwise.weight)
    x = images()
    assert relative_error(run(program, x), run(net, x)) < TOLERANCE


@pytest.mark.parametrize(("groups", "joined"), [(6, 1), (6, 2), (6, 3), (6, 6), (1, 1)])
def test_a_weight_with_fewer_groups_computes_the_same(groups: int, joined: int) -> None:
    generator = torch.Generator().manual_seed(0)
    draw = partial(torch.randn, generator=generator, dtype=torch.float64)
    weight, x = draw(18, 12 // groups, 3, 3), draw(2, 12, 5, 5)
    expected = F.conv2d(x, weight, groups=groups)
    wide = expand_groups(weight, groups, joined)
    assert relative_error(F.conv2d(x, wide, groups=joined), expected) < TOLERANCE


def test_joined_groups_keep_their_function(size: tuple[int, int] = (9, 8)) -> None:
    def build(channels: int) -> GraphModule:
        layers = [nn.Conv2d(3, channels, 1), nn.Conv2d(channels, 3 * channels, 3, groups=channels)]
        return rewrite(
            nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(3 * channels, 4, 1)),
            "join small groups",
            size,
        )

    assert [argument(node, 6, 1) for node in find(build(4), CONVOLUTION)] == [1, 1, 1]
    assert [argument(node, 6, 1) for node in find(build(24), CONVOLUTION)] == [1, 4, 1]
