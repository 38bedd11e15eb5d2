"""Evaluates a bundle on labelled images: as a whole, stage by stage, and layer by layer.

In: a bundle, and a folder of images with their labels. Out: an `Evaluation`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from msgspec import field, to_builtins

from edgekit._version import __version__
from edgekit.bundle import Bundle, open_bundle
from edgekit.engines.base import Engine, EngineDescription
from edgekit.engines.open_engine import (
    find_format,
    open_bundle_engine,
    open_engine,
    open_reference_engine,
)
from edgekit.errors import MissingPackageError, SettingsError
from edgekit.evaluation.accuracy import Reference, measure_accuracy, measure_stages, stream
from edgekit.evaluation.layer_sqnr import TAPS, LayerSqnr, OpenTap, compare_layers
from edgekit.images import DamagedImages, LabelledImage, find_labelled_images
from edgekit.progress import SILENT, Progress
from edgekit.scores import make_model_rule
from edgekit.spec import Accuracy, Record

LAYER_IMAGES = 16
"""How many images the layers are compared on, spread over all: each layer's output is kept."""
WORST_LAYERS = 10


class Evaluation(Record, frozen=True, kw_only=True):
    """The accuracy of one bundle on a `runtime`.

    `steps` are the stages of its conversion by name, in order, each compared with the first;
    `layers` are in the order of the graph. Both are empty where they were not asked for.
    `left_out` says which files of the folder were not classified, one line each kind.
    """

    edgekit: str = __version__
    bundle: str
    runtime: str
    accuracy: Accuracy
    steps: dict[str, Accuracy] = field(default_factory=dict)
    layers: tuple[LayerSqnr, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def worst_layers(self) -> list[LayerSqnr]:
        """The ten layers with the lowest SQNR, worst first."""
        return sorted(self.layers, key=lambda layer: layer.sqnr_db)[:WORST_LAYERS]

    def to_document(self) -> dict[str, Any]:
        """The JSON document of accuracy.json: the accuracy's figures are at its top."""
        head = {"edgekit": self.edgekit, "bundle": self.bundle, "runtime": self.runtime}
        steps = [{"step": name, **to_builtins(step)} for name, step in self.steps.items()]
        layers = [to_builtins(layer) for layer in self.layers]
        accuracy: dict[str, Any] = to_builtins(self.accuracy)
        left_out = {"left_out": list(self.left_out)} if self.left_out else {}
        return head | accuracy | left_out | {"steps": steps, "layers": layers}


def evaluate(  # noqa: PLR0913 - a parameter an option of the command
    bundle: Bundle | Path | str,
    images: Path | str,
    *,
    labels: Path | str | None = None,
    original: Mapping[str, Reference] | Callable[[], Mapping[str, Reference]] | None = None,
    steps: bool = False,
    layers: bool = False,
    open_tap: OpenTap | None = None,
    threads: int = 1,
    strict: bool = False,
    progress: Progress = SILENT,
) -> Evaluation:
    """Measure a bundle's accuracy on labelled images, and how close it is to its float original.

    Args:
        bundle: The bundle, or its file.
        images: The folder of the images.
        labels: A CSV file with a header `file,label`; without it, the folders that the images are
            in are named after their classes. The labels of a multi-label network are joined by `;`.
        original: The float original and the stages after it, by name, each as pixels → logits; the
            first is what all others are compared with; or a function that makes them, which is
            called once the images are found and the engine is open. Without it, the bundle's own.
        steps: Also measure every stage.
        layers: Also compare each layer with the bundle's own float original, on 16 images at most.
        open_tap: Opens a model whose layers can be read, for `layers` of an ONNX bundle:
            `edgekit.targets.find_target("jetson").open_tap`, which needs onnx.
        threads: How many cores one inference uses; a GPU does not take it.
        strict: The first image that cannot be read is an error, instead of passed over.
        progress: Receives the steps of the work, and how many images are done.

    Returns:
        The accuracy as this machine's runtime runs the bundle.

    Raises:
        BundleError: The bundle cannot be read, or is damaged.
        ImageError: An image or a label cannot be read, or does not fit the bundle's classes.
        SettingsError: The bundle has no float original for `steps` or `layers`.
        MissingPackageError: A runtime that is needed is not installed.
    """
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    model = opened.manifest.model
    left_out: list[str] = []
    found = find_labelled_images(
        Path(images),
        None if labels is None else Path(labels),
        opened.class_names,
        multilabel=model.scores == "multilabel",
        strict=strict,
        note=left_out.append,
    )
    damaged = DamagedImages(images, len(found), strict=strict)
    if layers:
        _require_reference(opened)
    spec = model.input
    with ExitStack() as stack:
        engine = stack.enter_context(
            closing(open_bundle_engine(opened, threads=threads, progress=progress))
        )
        if engine.description.note:
            progress.note(f"on {_spell_runtime(engine.description)}: {engine.description.note}")
        rule = make_model_rule(model)
        stages = original() if callable(original) else original
        if stages is None:
            stages = _open_original(opened, stack, progress)
        if steps:
            stages = _list_stages(opened, engine, stages, stack)
        progress.step(f"classifying {len(found)} images")
        if steps:
            measured = measure_stages(stages, found, spec, progress, damaged, rule)
            accuracy = measured[next(reversed(measured))]
        else:
            measured = {}
            reference = next(iter(stages.values()), None)
            accuracy = measure_accuracy(engine, found, spec, reference, progress, damaged, rule)
        damaged.report(left_out.append)
        for line in left_out:
            progress.note(line)
        return Evaluation(
            bundle=opened.manifest.name,
            runtime=_spell_runtime(engine.description),
            accuracy=accuracy,
            steps=measured,
            layers=_compare_layers(opened, open_tap, found, progress) if layers else (),
            left_out=tuple(left_out),
        )


def _spell_runtime(description: EngineDescription) -> str:
    return f"{description.runtime} {description.version}"


def _open_original(bundle: Bundle, stack: ExitStack, progress: Progress) -> dict[str, Reference]:
    """The float original that the bundle holds, as this machine's runtime runs it."""
    if bundle.reference is None:
        return {}
    name = f"{bundle.path} (float original)"
    engine = open_engine(bundle.reference, name=name, precision="fp32", progress=progress)
    stack.callback(engine.close)
    return {"float original": engine.infer}


def _list_stages(
    bundle: Bundle, engine: Engine, original: Mapping[str, Reference], stack: ExitStack
) -> dict[str, Reference]:
    """All stages in order: the original's, the artifact, and the engine that is built from it."""
    if not original:
        raise SettingsError(
            f"{bundle.path} has no float original to begin --steps with: name the --checkpoint"
        )
    if engine.description.build_s is None:
        return {**original, "artifact": engine.infer}
    stages = dict(original)
    try:
        artifact = open_reference_engine(bundle.model, name=str(bundle.path))
    except MissingPackageError:  # boards seldom have ONNX Runtime
        pass
    else:
        stack.callback(artifact.close)
        stages["artifact"] = artifact.infer
    return {**stages, "engine": engine.infer}


def _require_reference(bundle: Bundle) -> bytes:
    if bundle.reference is None:
        raise SettingsError(
            f"{bundle.path} has no float original, which --layers compares with: convert again"
            " without --no-reference"
        )
    return bundle.reference


def _compare_layers(
    bundle: Bundle,
    open_tap: OpenTap | None,
    images: Sequence[LabelledImage],
    progress: Progress,
) -> tuple[LayerSqnr, ...]:
    open_tap = open_tap or TAPS.get(find_format(bundle.model, str(bundle.path)))
    if open_tap is None:
        raise SettingsError(
            f"the layers of {bundle.path} can be read with onnx only: give open_tap, as"
            " edgekit.targets has it for each target"
        )
    few = images[:: max(1, len(images) // LAYER_IMAGES)][:LAYER_IMAGES]
    progress.step(f"comparing layers on {len(few)} images")
    spec = bundle.manifest.model.input
    pixels = (pixels for _, pixels in stream(few, spec, DamagedImages(bundle.path, len(few))))
    artifact, original = open_tap(bundle.model), open_tap(_require_reference(bundle))
    return tuple(compare_layers(artifact, original, pixels))
