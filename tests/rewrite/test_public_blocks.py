"""The blocks of public image classifiers compute the same after all passes."""

from __future__ import annotations

import pytest
import torch

from edgekit.rewrite.export import rewrite_graph, trace
from edgekit.rewrite.pipeline import FLOAT_PASSES, INTEGER_PASSES
from tests.quantize.nets import relative_error, run, small_spec
from tests.rewrite.compare import prepare
from tests.rewrite.public_blocks import BLOCKS

SIZE = 32


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_of_public_networks(name: str) -> None:
    """Classifiers of torchvision and timm, whose blocks these are, come with their own code."""
    torch.manual_seed(0)
    module = prepare(BLOCKS[name]())
    image = torch.randn(1, 3, SIZE, SIZE, dtype=torch.float64)
    expected = run(module, image)
    assert expected.shape == (1, 10) and expected.std() > 1e-3
    traced = trace(module, small_spec(SIZE))
    for passes in (FLOAT_PASSES, INTEGER_PASSES):
        program = rewrite_graph(traced, passes)
        assert relative_error(run(program, image), expected) < 1e-9
