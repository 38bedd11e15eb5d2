"""Reads the settings that a training script saved with the weights, or in a file beside them.

In: the content of a checkpoint file, and its path. Out: dicts of plain values, each with the place
where it is written; and of them the size of the input and the normalization, which tensors do not
show. All are read as data. They are believed only if the network that they name is the tensors'.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isclose
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from edgekit.checkpoint.open import Settings
from edgekit.spec import NORMALIZATIONS, Size

SETTINGS_KEYS = ("args", "train_args", "hyper_parameters", "config", "cfg", "opt")
"""The keys of a checkpoint under which training scripts save their settings."""
CONFIGS = ("config.json", "preprocessor_config.json")
"""What timm and transformers save beside the weights."""
NESTED = ("pretrained_cfg", "default_cfg", "data_config")
"""The keys of timm's dicts within a config."""
LARGEST_CONFIG = 1 << 20
SIZE_KEYS = ("val_crop_size", "crop_size", "input_size", "img_size", "imgsz", "image_size")
"""The size of the crop goes before that of the resized image."""
MEAN_KEYS, STD_KEYS = ("mean", "image_mean"), ("std", "image_std")
Value = TypeVar("Value")
SMALLEST_SIDE, LARGEST_SIDE = 16, 1024
"""Other numbers under these keys are not sides of an image in pixels."""


class SavedSettings(NamedTuple):
    """Values by name, and the words that lead to one, as `args.`.

    `config` is the name of the file beside the weights that they are from; empty for the
    checkpoint's own.
    """

    place: str
    values: Mapping[str, Any]
    config: str = ""


@dataclass(frozen=True)
class SavedInput:
    """What settings say of the input; None where they say nothing. The places name the keys."""

    size: Size | None = None
    size_place: str = ""
    normalize: str | None = None
    normalize_place: str = ""


def find_settings(content: Any, path: Path | None) -> list[SavedSettings]:
    """Find the settings in the content of a file, then in the configs beside it.

    Args:
        content: What the checkpoint file holds.
        path: The file; None for a state dict in memory.

    Returns:
        The settings, none where there are none or they cannot be read.
    """
    found = list(_open_settings(content, ""))
    for key in SETTINGS_KEYS:
        if isinstance(content, Mapping):
            found += _open_settings(content.get(key), f"{key}.")
    for name in CONFIGS if path is not None else ():
        assert path is not None
        found += _open_settings(_read_config(path.parent / name), f"{name}: ", name)
    return found


def _open_settings(value: Any, place: str, config: str = "") -> Iterator[SavedSettings]:
    values = value.values if isinstance(value, Settings) else value
    if not isinstance(values, Mapping):
        return
    yield SavedSettings(place, values, config)
    for key in NESTED:
        if isinstance(values.get(key), Mapping):
            yield SavedSettings(f"{place}{key}.", values[key], config)


def _read_config(path: Path) -> Any:
    """Read a small JSON file; None for anything else."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_CONFIG:
            return None
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def find_input(settings: Sequence[SavedSettings]) -> SavedInput:
    """Find the first size of an input and the first normalization.

    Args:
        settings: Of one checkpoint, those within the file first.

    Returns:
        What was found.
    """
    size, size_place = _find_first(settings, SIZE_KEYS, _read_size)
    mean, place = _find_first(settings, MEAN_KEYS, _read_channels)
    std, std_place = _find_first(settings, STD_KEYS, _read_channels)
    together = place.rpartition(".")[0] == std_place.rpartition(".")[0]
    if mean is None or std is None or not together or min(std) <= 0:
        return SavedInput(size, size_place)
    return SavedInput(size, size_place, _spell_normalization(mean, std), f"{place} and {std_place}")


def _find_first(
    settings: Sequence[SavedSettings], keys: Sequence[str], read: Callable[[Any], Value | None]
) -> tuple[Value | None, str]:
    """The first value that can be read, and its place."""
    for saved in settings:
        for key in keys:
            value = read(saved.values.get(key))
            if value is not None:
                return value, f"{saved.place}{key}"
    return None, ""


def _read_size(value: Any) -> Size | None:
    """Read a side, `[C, H, W]`, `[H, W, C]`, `[H, W]`, or a dict with `height` and `width`."""
    if isinstance(value, Mapping):
        value = [value.get("height"), value.get("width")]
    sides = value if isinstance(value, list | tuple) else [value, value]
    numbers = [_read_side(side) for side in sides]
    if len(numbers) == 3:
        numbers = (
            numbers[1:] if numbers[0] in (1, 3) else numbers[: 2 if numbers[2] in (1, 3) else 3]
        )
    found = [number for number in numbers if number is not None]
    if len(numbers) != 2 or len(found) != 2:
        return None
    if not SMALLEST_SIDE <= min(found) <= max(found) <= LARGEST_SIDE:
        return None
    return Size(width=found[1], height=found[0])


def _read_side(value: Any) -> int | None:
    """Read a whole number, also one that is written as a text or with a decimal point."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 6:
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is int else None


def _read_channels(value: Any) -> tuple[float, ...] | None:
    """Read three numbers, those of R, G and B, of images in 0-1 or in 0-255."""
    if not isinstance(value, list | tuple) or len(value) != 3:
        return None
    if not all(isinstance(one, Real) and 0 <= float(one) <= 255 for one in value):
        return None
    return tuple(float(one) for one in value)


def _spell_normalization(mean: Sequence[float], std: Sequence[float]) -> str:
    """The name of a normalization, else its six numbers in pixel units."""
    scale = 1 if max(*mean, *std) > 1 else 255
    numbers = [scale * value for value in (*mean, *std)]
    for name, known in NORMALIZATIONS.items():
        if all(map(isclose, numbers, (*known.mean, *known.std))):
            return name
    return ",".join(f"{number:.10g}" for number in numbers)
