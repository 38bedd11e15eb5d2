"""Rewrites, calibrates, quantizes and writes the network of a conversion."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

from torch.fx import GraphModule

from edgekit.conversion.mixed_precision import MixedPrecision, fit_budget
from edgekit.conversion.request import Job, Request, check_images
from edgekit.quantize.image_checks import Warnings
from edgekit.quantize.pipeline import Calibrated, Quantized
from edgekit.quantize.pipeline import calibrate as calibrate_program
from edgekit.quantize.statistics_table import (
    Provenance,
    StatisticsTable,
    make_table,
    reuse_statistics,
)
from edgekit.rewrite.export import rewrite_graph, trace
from edgekit.rewrite.input_pixels import take_pixels
from edgekit.rewrite.pipeline import FLOAT_PASSES, INTEGER_PASSES
from edgekit.spec import InputSpec
from edgekit.targets.base import Artifact, Int8Model


class Network(NamedTuple):
    """What became of the checkpoint so far.

    `float_program` takes p − the target's offset for pixels p. `calibrated` and `quantized` are
    None where nothing becomes int8; `model` and `mixed` where no budget had to be kept.
    """

    job: Job
    float_program: GraphModule
    calibrated: Calibrated | None
    quantized: Quantized | None = None
    model: Int8Model | None = None
    mixed: MixedPrecision | None = None


class Written(NamedTuple):
    """The model files, and what was kept float by budget."""

    job: Job
    artifact: Artifact
    mixed: MixedPrecision | None


def calibrate(job: Job) -> Network:
    """Export and rewrite the network, begin to write its float original, gather statistics."""
    request, options = job.request, job.options
    traced = trace_network(request)
    float_program = make_float_program(traced, request.size, request.target.pixel_offset)
    if options.writes_float:
        request.progress.step(f"writing the float original as {request.target.format}")
        job.writer.begin_float(float_program, request.size)
    if not options.is_quantized:
        return Network(job, float_program, None)
    calibrated = calibrate_network(traced, request)
    job = job._replace(warnings=job.warnings + calibrated.warnings)
    return Network(job, float_program, calibrated)


def quantize(network: Network) -> Network:
    """The int8 program; with a budget, the one with the fewest float layers that keeps it."""
    job, calibrated = network.job, network.calibrated
    if calibrated is None:
        return network
    if job.budget is None:
        return network._replace(quantized=calibrated.quantize())
    write = partial(job.writer.write_int8, size=job.request.size)
    quantized, model, mixed = fit_budget(calibrated, job.budget, write)
    return network._replace(quantized=quantized, model=model, mixed=mixed)


def write(network: Network) -> Written:
    """Write the artifact, and wait for the float original that was begun before."""
    job = network.job
    int8, fp16 = _write_int8(network), _write_fp16(network)
    reference = job.writer.finish_float() if job.options.writes_float else None
    model = int8.model if int8 is not None else fp16 or reference
    assert model is not None
    artifact = Artifact(
        model,
        job.options.precision,
        reference,
        fp16_model=fp16 if int8 is not None else None,
        left_float=int8.left_float if int8 is not None else (),
    )
    return Written(job, artifact, network.mixed)


def _write_int8(network: Network) -> Int8Model | None:
    """A budget's artifact is written already."""
    job = network.job
    if network.quantized is None or network.model is not None:
        return network.model
    job.request.progress.step(f"writing {job.request.target.format}")
    return job.writer.write_int8(network.quantized, job.request.size)


def _write_fp16(network: Network) -> bytes | None:
    job = network.job
    if job.options.precision not in ("fp16", "best"):
        return None
    job.request.progress.step(f"writing float16 {job.request.target.format}")
    return job.writer.write_fp16(network.float_program, job.request.size)


def trace_network(request: Request) -> GraphModule:
    """The network's graph, as it was exported."""
    request.progress.step(f"exporting {request.checkpoint.spec.family}")
    return trace(request.checkpoint.module, request.size)


def make_float_program(traced: GraphModule, size: InputSpec, offset: int) -> GraphModule:
    """Rewrite a network for float execution.

    Args:
        traced: The network's graph; it is left as it is.
        size: The network's input.
        offset: The pixel value that becomes 0.

    Returns:
        The program, which takes p − `offset` for pixels p, `(1, H, W, C)`.

    Raises:
        ConversionError: The rewritten graph computes something else, or its input is read by
            several layers.
    """
    program = rewrite_graph(traced, FLOAT_PASSES)
    take_pixels(program, size.normalization, offset, fold_mean=False)
    return program


def calibrate_network(traced: GraphModule, request: Request) -> Calibrated:
    """The network ready to be quantized; `traced`, its graph, is left as it is.

    Raises CalibrationError when the images or their table cannot be used.
    """
    program = rewrite_graph(traced, INTEGER_PASSES)
    images, table = request.calibration
    cached = None
    if table is not None:
        provenance = Provenance.of(request.checkpoint, request.target.name, request.recipe)
        cached = partial(reuse_statistics, table, provenance, images)
    return calibrate_program(
        program,
        request.size.normalization,
        images,
        request.recipe,
        request.target.backend,
        progress=request.progress,
        cached=cached,
    )


def gather_table(request: Request, folder: Path) -> tuple[StatisticsTable, Warnings]:
    """Gather the statistics of the request's network and images, for a file in `folder`.

    Returns the table, and warnings about the images.
    """
    warnings = check_images(request)
    calibrated = calibrate_network(trace_network(request), request)
    provenance = Provenance.of(request.checkpoint, request.target.name, request.recipe)
    table = make_table(provenance, request.calibration.images, calibrated.statistics, folder)
    return table, warnings + calibrated.warnings
