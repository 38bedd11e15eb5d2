"""`edgekit models`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from edgekit.cli.models import command
from edgekit.errors import SettingsError
from edgekit.models import FAMILIES


def run(*arguments: str) -> str:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def run_json(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json"))


def test_every_family_is_listed_with_its_figures() -> None:
    families = {family["name"]: family for family in run_json()["families"]}
    assert list(families) == list(FAMILIES)
    assert families["mobilenet_v1"]["figures"][0] == {
        "width": 1.0,
        "input_size": 224,
        "parameters": 4_231_976,
        "multiply_adds": 568_740_352,
        "top1": 70.6,
        "source": "arXiv:1704.04861, table 6",
    }


def test_table_shows_whole_numbers() -> None:
    text = run("mobilenet_v1")
    assert "mobilenet_v1" in text
    assert "568,740,352" in text
    assert "70.6 %" in text
    assert "…" not in text


def test_point_without_a_published_accuracy() -> None:
    (family,) = run_json("mobilenet_v1", "--width", "0.25", "--input-size", "128")["families"]
    (figure,) = family["figures"]
    assert (figure["parameters"], figure["multiply_adds"]) == (470_072, 13_570_048)
    assert figure["top1"] is None
    assert "not published" in run("mobilenet_v1", "--width", "0.25", "--input-size", "128")


def test_layers() -> None:
    document = run_json("mobilenet_v2", "--layers", "--width", "0.5", "--input-size", "96")
    layers = document["layers"]
    assert layers[0]["name"] == "stem.conv"
    assert layers[0]["output_shape"] == [16, 48, 48]
    assert sum(layer["multiply_adds"] for layer in layers) == document["multiply_adds"]
    text = run("mobilenet_v2", "--layers")
    assert "blocks.16.projection.conv" in text
    assert "300,774,272" in text


def test_layers_need_a_name() -> None:
    result = CliRunner().invoke(command, ["--layers"])
    assert result.exit_code == 2
    assert "--layers needs the NAME of a family" in result.output


def test_unknown_name() -> None:
    with pytest.raises(SettingsError, match="no family is called 'lenet'"):
        run("lenet")
