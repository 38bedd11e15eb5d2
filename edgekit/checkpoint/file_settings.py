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
from edgekit.text import one_line

SETTINGS_KEYS = ("args", "train_args", "hyper_parameters", "config", "cfg", "opt")
"""The keys of a checkpoint under which training scripts save their settings."""
CONFIGS = ("config.json", "preprocessor_config.json")
"""What timm and transformers save beside the weights."""
NESTED = ("pretrained_cfg", "default_cfg", "data_config", "model_args", "model_kwargs")
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


class SavedValue(NamedTuple):
    """What settings say of one value of the network, and the key that does."""

    name: str
    value: Any
    place: str


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
    same_units = mean is None or std is None or max(mean) <= 1 or max(std) > 1
    if mean is None or std is None or not (together and same_units) or min(std) <= 0:
        return SavedInput(size, size_place)
    return SavedInput(size, size_place, _spell_normalization(mean, std), f"{place} and {std_place}")


def find_structure(settings: Sequence[SavedSettings]) -> list[SavedValue]:
    """Find what settings say of the activation, the padding and the batch norms' epsilon.

    Args:
        settings: Of one checkpoint, those within the file first.

    Returns:
        The values by the names of `Defaults`; none for what is not said.
    """
    found = []
    for name, (keys, read) in STRUCTURE.items():
        value, place = _find_first(settings, keys, read)
        if value is not None:
            found.append(SavedValue(name, value, place))
    return found


def find_unknown_structure(settings: Sequence[SavedSettings]) -> SavedValue | None:
    """Find a setting of the network that edgekit's families do not have: its pooling or stride."""
    for saved in settings:
        for key, usual in USUAL.items():
            value = saved.values.get(key)
            if isinstance(value, int | str) and value not in usual:
                return SavedValue(key, one_line(str(value)), f"{saved.place}{key}")
    return None


def _read_activation(value: Any) -> str | None:
    return value if value in ("relu", "relu6") else None


def _read_eps(value: Any) -> float | None:
    return value if type(value) is float and 0 < value <= LARGEST_EPS else None


def _read_padding(value: Any) -> str | None:
    return {True: "same", False: "symmetric"}[value] if type(value) is bool else None


LARGEST_EPS = 0.1
STRUCTURE: Mapping[str, tuple[tuple[str, ...], Callable[[Any], Any]]] = {
    "activation": (("hidden_act", "act_layer"), _read_activation),
    "padding": (("tf_padding",), _read_padding),
    "batch_norm_eps": (("layer_norm_eps", "bn_eps"), _read_eps),
}
"""transformers' names of values, and timm's."""
USUAL: Mapping[str, tuple[int | str, ...]] = {
    "output_stride": (32,),
    "gp": ("avg", "fast", ""),
    "global_pool": ("avg", "fast", ""),
}
"""The values that edgekit's families have."""


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
