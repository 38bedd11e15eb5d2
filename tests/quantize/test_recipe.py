"""Recipes load by name or file, and wrong ones are refused with a message."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.errors import RecipeError
from edgekit.quantize.recipe import Recipe, load_recipe
from edgekit.spec import DEFAULT_RECIPE


def test_shipped_recipes() -> None:
    assert load_recipe(DEFAULT_RECIPE) == Recipe(name="balanced")
    fast = load_recipe("fast")
    assert (fast.ranges, fast.equalization, fast.bias_correction_images) == ("min-max", "none", 0)


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nranges = "percentile"\npercentile = 99.9\n')
    assert load_recipe(str(path)) == Recipe(name="mine", ranges="percentile", percentile=99.9)


def test_an_unknown_name_lists_the_shipped_ones(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no recipe 'best': expected one of accurate, balanced,"):
        load_recipe("best")
    with pytest.raises(RecipeError, match=r"no recipe '.*nope\.toml'"):
        load_recipe(str(tmp_path / "nope.toml"))
    with pytest.raises(RecipeError, match="no recipe"):
        load_recipe(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('name = "x"\nrange = "mse"', r"unknown field `range`.*balanced\.toml shows"),
        ('name = "x"\nranges = "kl"', r"'kl'.*\$\.ranges"),
        ('name = "x"\nequalization = true', r"Expected `str`, got `bool`.*\$\.equalization"),
        ('ranges = "mse"', "missing required field `name`"),
        ('name = "x"\npercentile = 10.0', "percentile 10.0: expected 50 to 100"),
        ('name = "x"\npercentile = nan', "percentile nan: expected 50 to 100"),
        ('name = "x"\nbias_correction_images = -1', "bias_correction_images -1: expected 0"),
        ("name = ", r"is wrong: Invalid value .*: expected the keys"),
        ("\x00", "is wrong"),
    ],
)
def test_wrong_recipes(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=words) as info:
        load_recipe(str(path))
    assert str(path) in str(info.value)
    assert "\n" not in str(info.value)


def test_a_recipe_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="is wrong"):
        load_recipe(str(path))
