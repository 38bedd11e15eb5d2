"""`edgekit inspect FILE`: what a checkpoint, .pt2, bundle, .tflite or .onnx is."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.checkpoint_options import checkpoint_options
from edgekit.cli.options import json_option, print_json
from edgekit.errors import ModelFileError
from edgekit.spec import CheckpointFlags

if TYPE_CHECKING:
    from edgekit.checkpoint import Checkpoint

MODEL_SUFFIXES = (".edgekit", ".onnx", ".tflite")
CHANGED_BY = {
    "family": "--arch",
    "width": "--width",
    "input_size": "--input-size",
    "normalization": "--normalize",
    "resize": "--resize",
    "activation": "--activation",
    "padding": "--padding",
    "batch_norm_eps": "--batch-norm-eps",
    "scores": "--scores",
    "threshold": "--threshold",
}
"""The option that changes each value of a checkpoint."""
WIDTH = 120
"""Columns of the table: a digest or a sentence is not cut on a narrow or absent terminal."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@checkpoint_options
@json_option
def command(file: Path, as_json: bool, flags: CheckpointFlags) -> None:
    """Say what FILE is: a checkpoint, a torch.export .pt2, a bundle, a .tflite or a .onnx.

    For a checkpoint, values that are neither in its tensors nor given as options are marked
    (default), with the option that changes them.
    """
    if not file.exists():
        raise ModelFileError(
            f"{file} does not exist: expected a checkpoint, a bundle, a .tflite or a .onnx file"
        )
    if is_model_file(file):
        from edgekit.runtime.inspect_model import inspect_model_file

        facts: dict[str, Any] = inspect_model_file(file)
        defaults: list[str] = []
    else:
        from edgekit.checkpoint import load_checkpoint

        facts = describe_checkpoint(load_checkpoint(file, flags))
        defaults = facts["defaults"]
    if as_json:
        print_json(facts)
    else:
        print_facts(facts, defaults)


def is_model_file(path: Path) -> bool:
    """Whether `path` is a bundle, a .tflite or a .onnx, by its name or else its content."""
    if path.is_dir():
        return False
    if path.suffix.lower() in MODEL_SUFFIXES:
        return True
    with path.open("rb") as stream:
        head = stream.read(8)
    if not head.startswith(b"PK"):
        return head[4:8] == b"TFL3"
    try:
        with zipfile.ZipFile(path) as archive:
            return "manifest.json" in archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return False  # the checkpoint reader says what is wrong with it


def describe_checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    """The facts of a checkpoint under their JSON keys; `defaults` lists those that are defaults."""
    from edgekit.scores import make_model_rule

    spec = checkpoint.spec
    return {
        "kind": "checkpoint",
        "family": spec.family,
        "width": spec.width,
        "input_size": str(spec.input.size),
        "color": spec.input.color,
        "classes": spec.classes,
        "scores": spec.scores,
        "threshold": None if make_model_rule(spec).kind == "best" else spec.threshold,
        "parameters": spec.parameters,
        "multiply_adds": spec.multiply_adds,
        "normalization": spec.input.normalization.name,
        "resize": spec.input.resize,
        "activation": spec.activation,
        "padding": spec.padding,
        "batch_norm_eps": spec.batch_norm_eps,
        "layout": checkpoint.layout,
        "recognized_by": checkpoint.evidence or None,
        "container": checkpoint.container,
        "file_kind": checkpoint.file_kind,
        "sha256": checkpoint.sha256,
        "defaults": [name for name, origin in checkpoint.origins.items() if origin == "default"],
        "origins": {
            name: {"from": origin, "changed_by": CHANGED_BY.get(name)}
            for name, origin in checkpoint.origins.items()
        },
        "notes": list(checkpoint.notes),
    }


def print_facts(facts: dict[str, Any], defaults: list[str]) -> None:
    """An aligned two-column table on standard output."""
    from rich.console import Console
    from rich.table import Table

    table = Table.grid(padding=(0, 2), pad_edge=False)
    for name, value in facts.items():
        if name in ("defaults", "origins") or value is None or value == []:
            continue
        suffix = ""
        if name in defaults:
            suffix = f" (default), {CHANGED_BY[name]}" if name in CHANGED_BY else " (default)"
        table.add_row(name.replace("_", " "), format_fact(value) + suffix)
    Console(highlight=False, markup=False, width=WIDTH).print(table)


def format_fact(value: Any) -> str:
    """A fact as people read it: thousands separated, lists joined."""
    if isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, int):
        text = f"{value:,}"
    elif isinstance(value, float):
        text = f"{value:g}"
    elif isinstance(value, dict):
        text = ", ".join(f"{key} {format_fact(entry)}" for key, entry in value.items())
    elif isinstance(value, list):
        text = "; ".join(format_fact(entry) for entry in value)
    else:
        text = str(value)
    return text
