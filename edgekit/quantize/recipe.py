"""Reads recipes: TOML files that choose the methods of a quantization."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from edgekit.errors import RecipeError
from edgekit.quantize.ranges import RangeMethod, WeightRanges
from edgekit.resources import resource
from edgekit.spec import DEFAULT_RECIPE
from edgekit.toml import TOMLDecodeError, read_toml

Equalization = Literal["none", "weights", "activations"]
Rounding = Literal["nearest", "gptq"]


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The methods of a quantization. `calibration/recipes/*.toml` explains each key."""

    name: str
    ranges: RangeMethod = "mse"
    weight_ranges: WeightRanges = "max"
    percentile: float = 99.99
    equalization: Equalization = "activations"
    absorb_biases: bool = False
    rounding: Rounding = "nearest"
    rounding_images: int = 64
    bias_correction_images: int = 32


def load_recipe(name: str) -> Recipe:
    """Load a shipped recipe by its name, or a TOML file by its path.

    Raises RecipeError, which names the key and the value, when it is wrong.
    """
    folder = resource("calibration/recipes")
    path = folder / f"{name}.toml"
    if not path.is_file():
        path = Path(name)
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in folder.glob("*.toml")))
        raise RecipeError(f"there is no recipe {name!r}: expected one of {shipped}, or a TOML file")
    try:
        recipe = msgspec.convert(read_toml(path), Recipe)
    except (TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise RecipeError(
            f"recipe {path} is wrong: {error}: expected the keys and values that"
            f" {folder / DEFAULT_RECIPE}.toml shows"
        ) from error
    _check_numbers(path, recipe)
    return recipe


def _check_numbers(path: Path, recipe: Recipe) -> None:
    if not 50 < recipe.percentile <= 100:
        raise RecipeError(f"recipe {path} has percentile {recipe.percentile}: expected 50 to 100")
    for key, least in (("rounding_images", 1), ("bias_correction_images", 0)):
        value = getattr(recipe, key)
        if value < least:
            raise RecipeError(f"recipe {path} has {key} {value}: expected {least} or more")
