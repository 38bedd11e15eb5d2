"""What a conversion made and measured; manifest, report and JSON document follow from it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from edgekit._version import __version__
from edgekit.bundle import SCHEMA_VERSION, Manifest, Origin, write_bundle
from edgekit.spec import Accuracy, ModelSpec, Precision

if TYPE_CHECKING:
    from edgekit.conversion.mixed_precision import MixedPrecision
    from edgekit.conversion.request import Job
    from edgekit.conversion.verification import Verified
    from edgekit.engines.base import EngineDescription
    from edgekit.engines.timing import Latency
    from edgekit.targets.acceleration import Acceleration
    from edgekit.targets.builder_check import BuilderCheck


class Outcome(NamedTuple):
    """What `convert` made and measured.

    Attributes:
        bundle: The file.
        target: The board's name, and what the bundle's model is, in `model`, `precision` and for
            int8 `recipe`.
        origin: What the bundle was made from and with; `spec_origins` says of each value of
            `model` where it came from.
        parity: The artifact, as `engine` ran it, against the float original.
        warnings: What looks suspicious about the images, one line each.
        left_float: Operators without an int8 form.
        mixed: What was kept float by budget; None without one.
        acceleration: What a delegate runs of the artifact, with `latency` on one thread of this
            machine; None where the board's runtime is not here.
        builder_check: What NVIDIA's builder makes of the artifact; None where there is none.
        size_bytes: The size of the bundle, of which `model_bytes` are the artifact.
        seconds: How long the conversion took, once the checkpoint was loaded.
    """

    bundle: Path
    target: str
    precision: Precision
    model: ModelSpec
    recipe: Mapping[str, Any]
    origin: Origin
    spec_origins: Mapping[str, str]
    parity: Accuracy
    engine: EngineDescription
    warnings: tuple[str, ...]
    left_float: tuple[str, ...]
    mixed: MixedPrecision | None
    acceleration: Acceleration | None
    latency: Latency | None
    builder_check: BuilderCheck | None
    model_bytes: int
    size_bytes: int = 0
    seconds: float = 0.0

    def make_manifest(self) -> Manifest:
        """`manifest.json`, but for its members' digests."""
        return Manifest(
            schema=SCHEMA_VERSION,
            name=self.bundle.stem,
            model=self.model,
            target=self.target,
            precision=self.precision,
            recipe=dict(self.recipe),
            origin=self.origin,
            parity=self.parity,
        )

    def make_report(self) -> dict[str, Any]:
        """`report.json`."""
        return {
            "parity": self.parity,
            "engine": self.engine,
            "warnings": self.warnings,
            "left_float": self.left_float,
            "mixed_precision": self.mixed and self.mixed.to_document(),
            "acceleration": self.acceleration,
            "latency": self.latency,
            "builder_check": self.builder_check,
            "spec_origins": self.spec_origins,
        }

    def make_document(self) -> dict[str, Any]:
        """The JSON document of `edgekit convert --json`."""
        return {
            "bundle": str(self.bundle),
            "target": self.target,
            "precision": self.precision,
            "size_bytes": self.size_bytes,
            "model_bytes": self.model_bytes,
            "parity": self.parity,
            "engine": self.engine,
            "warnings": self.warnings,
            "left_float": self.left_float,
            "mixed": self.mixed and self.mixed.to_document(),
            "acceleration": self.acceleration,
            "latency": self.latency,
            "builder_check": self.builder_check,
            "seconds": self.seconds,
        }


def bundle(verified: Verified) -> Outcome:
    """Write the bundle. Raises OutputError when it cannot be written."""
    job, artifact = verified.job, verified.artifact
    outcome = _make_outcome(verified)
    job.request.progress.step(f"writing {job.output}")
    write_bundle(
        job.output,
        outcome.make_manifest(),
        model=artifact.model,
        reference=artifact.reference if job.options.keep_reference else None,
        fp16_model=artifact.fp16_model,
        class_names=job.class_names,
        golden=verified.golden,
        report=outcome.make_report(),
    )
    return outcome._replace(
        size_bytes=job.output.stat().st_size, seconds=round(time.monotonic() - job.began, 2)
    )


def _make_outcome(verified: Verified) -> Outcome:
    job, artifact = verified.job, verified.artifact
    request, options = job.request, job.options
    return Outcome(
        bundle=job.output,
        target=request.target.name,
        precision=options.precision,
        model=request.checkpoint.spec,
        recipe=msgspec.to_builtins(request.recipe) if options.is_quantized else {},
        origin=_make_origin(job),
        spec_origins=dict(request.checkpoint.origins),
        parity=verified.parity,
        engine=verified.engine,
        warnings=job.warnings,
        left_float=artifact.left_float,
        mixed=verified.mixed,
        **verified.verification._asdict(),
        model_bytes=len(artifact.model),
    )


def _make_origin(job: Job) -> Origin:
    checkpoint, images = job.request.checkpoint, job.request.calibration.images
    is_quantized = job.options.is_quantized
    return Origin(
        checkpoint_sha256=checkpoint.sha256 or "",
        key_layout=checkpoint.layout,
        tools={"edgekit": __version__} | {name: version(name) for name in job.request.target.tools},
        calibration_images=len(images.used) if is_quantized else 0,
        calibration_sha256=images.digest() if is_quantized else None,
    )
