"""The options of every command that takes a checkpoint, read into one record."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, get_args

import click
from msgspec.structs import asdict

from edgekit.cli.options import Decorator, FiniteRange, input_size_type, threshold_option
from edgekit.spec import Activation, CheckpointFlags, HeadActivation, Padding, Resize, Scores

_NAMES = CheckpointFlags.__struct_fields__

_OPTIONS: tuple[Decorator, ...] = (
    click.option(
        "--arch",
        metavar="NAME",
        help="The family (edgekit models lists them), or your own package.module:factory.",
    ),
    click.option(
        "--width",
        type=FiniteRange(min=0, min_open=True),
        help="The width multiplier that the tensors must have; it is read from them.",
    ),
    click.option(
        "--input-size",
        type=input_size_type,
        metavar="WxH",
        help="Width and height of the input in pixels, as 320x64; one number for a square.",
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
        "--batch-norm-eps",
        type=FiniteRange(min=0, min_open=True, max=0.1),
        help="The epsilon of the batch norms in training: 1e-3 in TensorFlow, 1e-5 in PyTorch.",
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
    click.option(
        "--state-dict",
        metavar="KEY",
        help="Which weights of several: their key in the file, or what their keys begin with.",
    ),
    click.option("--head", metavar="PATH", help="Which head of several, by its path in the keys."),
    click.option(
        "--head-activation",
        type=click.Choice(get_args(HeadActivation)),
        help="The activation between the linear layers of a head of your own.",
    ),
    click.option(
        "--scores",
        type=click.Choice(get_args(Scores)),
        help="What the output means: logits of classes that exclude each other (softmax), the"
        " scores themselves (probabilities), one logit that decides between two classes (sigmoid),"
        " or a logit for each independent label (multilabel).",
    ),
    threshold_option,
    click.option(
        "--output-tensor",
        metavar="NAME|NUMBER",
        help="The output with the logits, of your own network that returns several.",
    ),
)


def checkpoint_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; `function` gets them as one keyword, `flags`, a `CheckpointFlags`."""

    @wraps(function)
    def with_flags(*args: Any, **words: Any) -> Any:
        flags = CheckpointFlags(**{name: words.pop(name) for name in _NAMES})
        return function(*args, flags=flags, **words)

    command: Callable[..., Any] = with_flags
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def spell_flags(flags: CheckpointFlags) -> list[str]:
    """The words of a command line that give these flags."""
    words = []
    for name, value in asdict(flags).items():
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words


def name_stem(checkpoint: Path) -> str:
    """The file's name without its suffixes; widths have points too, as in `model_v1.5.pth.tar`."""
    return re.sub(r"(\.(pth|pt2?|tar|bin|ckpt|safetensors))+$", "", checkpoint.name)
