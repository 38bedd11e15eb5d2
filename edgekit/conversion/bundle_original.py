"""Opens the checkpoint that a bundle was made from, for `edgekit.evaluate` to compare with.

In: the bundle, and the checkpoint's file. Out: the float network and, where they are wanted, the
stages of its conversion, each as pixels → logits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgekit.bundle import Bundle
from edgekit.checkpoint import Checkpoint, load_checkpoint
from edgekit.conversion.convert import limited_threads
from edgekit.conversion.float_reference import make_float_reference
from edgekit.conversion.stages import make_stages
from edgekit.errors import SettingsError
from edgekit.evaluation.accuracy import Reference
from edgekit.models import FAMILIES
from edgekit.progress import SILENT, Progress
from edgekit.quantize.statistics_table import open_calibration
from edgekit.spec import CheckpointFlags


def open_original(
    bundle: Bundle,
    path: Path,
    flags: CheckpointFlags,
    *,
    stages: bool = False,
    calibration: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Reference]:
    """Load the checkpoint that `bundle` was made from.

    Args:
        bundle: What became of the checkpoint.
        path: The checkpoint's file.
        flags: What the user says of the checkpoint; the bundle says the rest.
        stages: Also make the stages of the conversion up to the artifact.
        calibration: The images that the bundle was calibrated on, for the stages after
            equalization.
        progress: Receives each step.

    Returns:
        The checkpoint and the stages after it, by name, in order.

    Raises:
        CheckpointError: The checkpoint cannot be loaded.
        SettingsError: It is not the one that the bundle was made from.
        CalibrationError: The images are not those that the bundle was calibrated on.
    """
    checkpoint = _load(bundle, path, flags)
    if not stages:
        return {"checkpoint": make_float_reference(checkpoint)}
    spec = bundle.manifest.model.input
    images = None if calibration is None else open_calibration(calibration, spec)
    with limited_threads():
        return make_stages(checkpoint, bundle, images, progress)


def _load(bundle: Bundle, path: Path, flags: CheckpointFlags) -> Checkpoint:
    checkpoint = load_checkpoint(path, flags.fill(_describe_flags(bundle)))
    classes = bundle.manifest.model.classes
    if checkpoint.spec.classes != classes:
        raise SettingsError(
            f"{path} has {checkpoint.spec.classes} classes, the bundle {classes}: expected the"
            " checkpoint it was made from"
        )
    return checkpoint


def _describe_flags(bundle: Bundle) -> dict[str, Any]:
    """The checkpoint flags that the bundle says.

    A network of the user's own code, or a `.pt2` file, fixes its activation and padding itself.
    """
    model = bundle.manifest.model
    known: dict[str, Any] = {
        "input_size": model.input.size,
        "normalize": model.input.normalization,
        "scores": model.scores,
    }
    if model.family in FAMILIES:
        known |= {"activation": model.activation, "padding": model.padding}
    elif ":" in model.family:
        known["arch"] = model.family
    return known
