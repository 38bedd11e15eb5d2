"""Train more networks on the demo's digits, as train.py trains the demo's own: one file a network.

For trying edgekit on MicroNet and on MobileNetV3 and V4 without a checkpoint of one's own. The
input is 64x64, the 360 held-out digits are looked at once, at the end, and nothing was tuned for
any of these networks: they share the settings of train.py. Seeded and on one thread. About ten
minutes each on a shared x86-64 core; the larger ones see fewer epochs for that.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import torch
from measure import measure, read_test
from pens import load_split
from train import SEED, SPEC, read_weights, train

from edgekit.checkpoint import load_checkpoint
from edgekit.models import FAMILIES
from edgekit.spec import CheckpointFlags

EPOCHS = {
    "micronet_m0": 100,
    "micronet_m0_preprint": 80,
    "mobilenet_v3_small": 90,
    "mobilenet_v4_conv_small": 70,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="FAMILY", help=f"{', '.join(EPOCHS)} [all]")
    parser.add_argument("-o", "--output", type=Path, default=Path("build/trained"))
    parser.add_argument("--epochs", type=int, help="for all of them")
    parser.add_argument("--half", action="store_true", help="store float16, half the size")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.names or EPOCHS:
        epochs = options.epochs or EPOCHS[name]
        train_network(name, epochs, options.output / f"{name}.pt", half=options.half)


def train_network(name: str, epochs: int, file: Path, *, half: bool) -> None:
    """Train one family at width 1 and write its state dict; print how often the file is right."""
    started = time.process_time()
    torch.manual_seed(SEED)
    module = train(FAMILIES[name].build(classes=10), load_split(), epochs)
    weights = read_weights(module)
    if half:
        weights = {
            key: tensor.half() if tensor.is_floating_point() else tensor
            for key, tensor in weights.items()
        }
    torch.save(weights, file)
    right, count = measure(
        load_checkpoint(file, CheckpointFlags(input_size=SPEC.height)), read_test()
    )
    print(
        f"{file}: {file.stat().st_size / 1000:.0f} kB, {100 * right / count:.2f} % right on test/"
        f" ({right} of {count}), {epochs} epochs,"
        f" {(time.process_time() - started) / 60:.1f} minutes of processor time",
        flush=True,
    )


if __name__ == "__main__":
    main()
