"""Networks in the styles that people write go to both boards, and give what PyTorch gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgekit.arrays import ModelPixels
from edgekit.bundle import open_bundle
from edgekit.checkpoint import Checkpoint, load_checkpoint
from edgekit.conversion.conversion_options import ConversionOptions
from edgekit.conversion.convert import convert
from edgekit.conversion.float_reference import run_float
from edgekit.engines.open_engine import open_reference_engine
from edgekit.images import list_images, read_image
from edgekit.metrics import compare_logits
from edgekit.preprocess import preprocess
from edgekit.spec import CheckpointFlags, Precision
from tests.conversion.conversions import small_images
from tests.quantize.nets import settle_batch_norms, small_spec
from tests.rewrite.own_networks import NETWORKS

SIDE = 32
FLOAT_SQNR_DB, INT8_SQNR_DB = 60.0, 20.0
"""What float artifacts reach at least (measured: 125 and more), and int8 ones (26 and more)."""


def load_network(name: str, tmp_path: Path) -> Checkpoint:
    """Load a network of `own_networks` as its user does: weights, and the code by name."""
    torch.manual_seed(0)
    network: nn.Module = NETWORKS[name]().eval()
    settle_batch_norms(network, small_images(), small_spec(SIDE))
    torch.save(network.state_dict(), tmp_path / "net.pth")
    (tmp_path / "factory.py").write_text(
        f"from tests.rewrite.own_networks import NETWORKS\nbuild = NETWORKS[{name!r}]\n"
    )
    flags = CheckpointFlags(arch="factory:build", input_size=SIDE)
    return load_checkpoint(tmp_path / "net.pth", flags)


def measure_reference(checkpoint: Checkpoint, model: bytes) -> float:
    """The SQNR of a float file against PyTorch, in dB."""
    files = list_images(small_images())[:4]
    pixels = np.stack([preprocess(read_image(file), checkpoint.spec.input) for file in files])
    engine = open_reference_engine(model)
    logits = np.stack([engine.infer(image) for image in pixels])
    return compare_logits(run_float(checkpoint, ModelPixels(pixels)), logits)


@pytest.mark.parametrize(
    ("name", "target", "precision"),
    [
        ("lenet", "pi", "int8"),
        ("lenet", "pi", "fp16"),
        ("lenet", "jetson", "best"),
        ("shuffled_halves", "pi", "int8"),
        ("shuffled_halves", "jetson", "int8"),
        ("class_token", "pi", "int8"),
        ("class_token", "jetson", "int8"),
        ("no_bias_anywhere", "pi", "int8"),
        ("softmax_gate", "pi", "int8"),
        ("dense_transition", "pi", "int8"),
        ("selections", "pi", "int8"),
        ("resized", "pi", "int8"),
        ("made_in_forward", "pi", "int8"),
        ("convolutions_of_rows", "pi", "int8"),
        ("folded_patches", "pi", "int8"),
        ("folded_patches", "jetson", "int8"),
        ("conditional_convolution", "pi", "int8"),
        ("conditional_convolution", "jetson", "int8"),
        ("normalized_by_buffers", "jetson", "int8"),
    ],
)
def test_networks_of_ones_own(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    target: str,
    precision: Precision,
) -> None:
    """`x.view(-1, 16*5*5)` in PyTorch's tutorial network, a channel shuffle written as views,
    layers without bias, a class token: on both boards and in every precision."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", *__import__("sys").path])
    __import__("sys").modules.pop("factory", None)
    checkpoint = load_network(name, tmp_path)
    is_quantized = precision in ("int8", "best")
    options = ConversionOptions(target=target, precision=precision, keep_reference=is_quantized)
    outcome = convert(checkpoint, tmp_path / "net.edgekit", small_images(), options)
    assert outcome.parity.sqnr_db is not None
    assert outcome.parity.sqnr_db > (INT8_SQNR_DB if is_quantized else FLOAT_SQNR_DB)
    reference = open_bundle(outcome.bundle).reference
    if is_quantized:
        assert reference is not None
        assert measure_reference(checkpoint, reference) > FLOAT_SQNR_DB
