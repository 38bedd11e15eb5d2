"""Opens and checks everything that a conversion starts from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from edgekit.arrays import ModelPixels
from edgekit.checkpoint import Checkpoint, load_checkpoint
from edgekit.conversion.conversion_options import ConversionOptions, Inputs
from edgekit.conversion.mixed_precision import Budget
from edgekit.errors import ConversionError
from edgekit.images import DamagedImages, LabelledImage, find_labelled_source, read_class_names
from edgekit.progress import SILENT, Progress
from edgekit.quantize.image_checks import Warnings, check_classes
from edgekit.quantize.normalization_check import NORMALIZATION_IMAGES, check_normalization
from edgekit.quantize.recipe import Recipe, load_recipe
from edgekit.quantize.statistics_table import Calibration, open_calibration
from edgekit.quantize.structure_check import check_structure
from edgekit.resources import demo_images
from edgekit.scores import number_classes, spell_misfit
from edgekit.spec import InputSpec, ModelSpec
from edgekit.targets.base import Target, Writer


class Request(NamedTuple):
    """What is quantized: a checkpoint for a target, calibrated on what and how."""

    checkpoint: Checkpoint
    calibration: Calibration
    target: Target
    recipe: Recipe
    progress: Progress = SILENT

    @property
    def size(self) -> InputSpec:
        return self.checkpoint.spec.input


class Job(NamedTuple):
    """A whole conversion: what is quantized, and the bundle that `writer` writes the files of.

    `validation` is what a budget is held on, without labels where there are none. `names_images` is
    whether the user named images, and not the demo's are compared on. `began` is when,
    by the monotonic clock, the checkpoint was loaded. `check` fills in the rest: `warnings` about
    the images, `held_out`, batches `(N, H, W, C) uint8` RGB of those to compare on, and the
    `budget` where there is one.
    """

    request: Request
    output: Path
    options: ConversionOptions
    class_names: tuple[str, ...]
    validation: Sequence[LabelledImage]
    writer: Writer
    began: float
    names_images: bool
    warnings: Warnings = ()
    held_out: Sequence[ModelPixels] = ()
    budget: Budget | None = None


def open_job(inputs: Inputs) -> Job:
    """Open the checkpoint, the images, the recipe and the names."""
    options, checkpoint = inputs.options, inputs.checkpoint
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = load_checkpoint(checkpoint, options.checkpoint)
    began = time.monotonic()
    class_names = read_names(options, checkpoint.spec, inputs.progress)
    recipe = options.recipe if isinstance(options.recipe, Recipe) else load_recipe(options.recipe)
    if inputs.calibration is None:
        inputs.progress.note(
            "no --calibration: the demo's images are compared on and kept as golden images"
        )
    calibration = open_calibration(
        Path(inputs.calibration or demo_images()), checkpoint.spec.input, strict=options.strict
    )
    return Job(
        Request(checkpoint, calibration, inputs.target, recipe, inputs.progress),
        inputs.output,
        options,
        class_names,
        _read_validation(options, checkpoint.spec, class_names, calibration, inputs.progress),
        inputs.writer,
        began,
        names_images=inputs.calibration is not None,
    )


def check(job: Job) -> Job:
    """Hold the names and the images against the network, and read those to compare on.

    What is wrong with them is found here, before the work that takes minutes.

    Args:
        job: The job as it was opened.

    Returns:
        The job with all its fields.

    Raises:
        ConversionError: The class names do not fit.
        CalibrationError: An image cannot be read.
        ImageError: A validation image cannot be read.
    """
    spec = job.request.checkpoint.spec
    misfit = spell_misfit(len(job.class_names), spec.scores, spec.outputs, "the checkpoint")
    if misfit:
        raise ConversionError(misfit)
    images = job.request.calibration.images
    damaged = DamagedImages("--validation", len(job.validation), strict=job.options.strict)
    warnings = check_images(job.request, job.class_names) if job.names_images else ()
    budget = _open_budget(job, damaged)
    return job._replace(
        warnings=(*warnings, str(damaged)) if str(damaged) else warnings,
        held_out=list(images.held_out_batches()),
        budget=budget,
    )


def _open_budget(job: Job, damaged: DamagedImages) -> Budget | None:
    request, max_drop = job.request, job.options.max_drop
    if max_drop is None:
        return None
    request.progress.step(f"running the float network on {len(job.validation)} images")
    return Budget(max_drop, request.checkpoint, request.target, job.validation, damaged)


def check_images(request: Request, class_names: Sequence[str] = ()) -> Warnings:
    """Warn of images that do not fit the network's batch norms, or cover few of its classes."""
    images = request.calibration.images
    sample = list(images.sample_batches(NORMALIZATION_IMAGES))
    module, normalization = request.checkpoint.module, request.size.normalization
    return (
        *check_normalization(module, normalization, sample),
        *check_structure(request.checkpoint, sample),
        *(check_classes(images.source, class_names) if class_names else ()),
    )


def read_names(
    options: ConversionOptions, spec: ModelSpec, progress: Progress = SILENT
) -> tuple[str, ...]:
    """The class names that were given, else `class 0`, `class 1`, …

    Args:
        options: Where the names are.
        spec: How many there are.
        progress: Receives what was assumed of their file.

    Returns:
        One name a class.

    Raises:
        ImageError: The file cannot be read.
    """
    names = options.class_names
    if names is None:
        return number_classes(spec.classes)
    if not isinstance(names, (str, Path)):
        return tuple(names)
    return read_class_names(Path(names), progress.note)


def _read_validation(
    options: ConversionOptions,
    spec: ModelSpec,
    class_names: Sequence[str],
    calibration: Calibration,
    progress: Progress,
) -> Sequence[LabelledImage]:
    """The labelled images of a CSV, of a folder with a `labels.csv`, or of class subfolders; the
    held-out images, without labels, where none were named."""
    if options.validation is None:
        return [LabelledImage(path, None) for path in calibration.images.held_out]
    return find_labelled_source(
        Path(options.validation),
        class_names,
        multilabel=spec.scores == "multilabel",
        strict=options.strict,
        note=progress.note,
    )
