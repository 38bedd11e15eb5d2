"""The options of every command that takes a checkpoint, and the one way to load it with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from edgekit.cli.options import Decorator, FiniteRange
from edgekit.spec import Activation, Padding, Resize

if TYPE_CHECKING:
    from edgekit.checkpoint import Checkpoint

NAMES = ("arch", "width", "input_size", "activation", "padding", "normalize", "resize")
"""The keywords that `checkpoint_options` adds to a command's function."""

_OPTIONS: tuple[Decorator, ...] = (
    click.option(
        "--arch",
        metavar="NAME",
        help="The family (edgekit models lists them), or your own package.module:factory.",
    ),
    click.option(
        "--width",
        type=FiniteRange(min=0, min_open=True),
        help="The width multiplier the tensors must have; they tell it themselves.",
    ),
    click.option(
        "--input-size", type=click.IntRange(32, 1024), help="Side of the input in pixels."
    ),
    click.option(
        "--activation",
        type=click.Choice(get_args(Activation)),
        help="The activation the network was trained with.",
    ),
    click.option(
        "--padding",
        type=click.Choice(get_args(Padding)),
        help="same: TensorFlow's padding, right and bottom only at stride 2.",
    ),
    click.option(
        "--normalize",
        metavar="imagenet|half|tf|none|MEAN,STD",
        help="How pixels were normalized in training; MEAN,STD in pixel units, as 127,127.5.",
    ),
    click.option(
        "--resize",
        type=click.Choice(get_args(Resize)),
        help="crop: the centre of the frame; stretch: the whole frame.",
    ),
)


def checkpoint_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; `function` gets the keywords `NAMES`, None where nothing was said."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def load(path: str | Path, options: Mapping[str, Any]) -> Checkpoint:
    """`load_checkpoint` with a command's `options`; keys beyond `NAMES` are not looked at.

    Raises MissingPackageError without PyTorch, and what `load_checkpoint` raises.
    """
    from edgekit.checkpoint import load_checkpoint

    return load_checkpoint(path, **{name: options.get(name) for name in NAMES})
