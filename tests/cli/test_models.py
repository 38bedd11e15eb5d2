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


@pytest.mark.slow
def test_every_family_is_listed_with_its_figures() -> None:
    families = {family["name"]: family for family in run_json()["families"]}
    assert list(families) == list(FAMILIES)
    assert families["mobilenet_v1"]["figures"][0] == {
        "width": 1.0,
        "input_size": "224x224",
        "parameters": 4_231_976,
        "multiply_adds": 568_740_352,
        "published_parameters_m": 4.2,
        "published_multiply_adds_m": 569,
        "top1": 70.6,
        "source": "arXiv:1704.04861, table 6",
    }


def test_table_shows_whole_numbers() -> None:
    text = run("mobilenet_v1")
    assert "mobilenet_v1" in text
    assert "568,740,352" in text
    assert "70.6 %" in text
    assert "4.2 M" in text
    assert "569 M" in text


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [(), *((name, "--layers") for name in FAMILIES)])
def test_tables_cut_nothing_and_fit_130_columns(arguments: tuple[str, ...]) -> None:
    text = run(*arguments)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 130


def test_point_without_a_published_accuracy() -> None:
    (family,) = run_json("mobilenet_v1", "--width", "0.25", "--input-size", "128")["families"]
    (figure,) = family["figures"]
    assert (figure["parameters"], figure["multiply_adds"]) == (470_072, 13_570_048)
    assert figure["top1"] is None
    assert figure["published_parameters_m"] is None
    assert "not published" in run("mobilenet_v1", "--width", "0.25", "--input-size", "128")


@pytest.mark.slow
def test_width_leaves_out_families_of_one_width() -> None:
    names = [family["name"] for family in run_json("--width", "0.5")["families"]]
    assert names == [name for name, family in FAMILIES.items() if not family.fixed_width]
    with pytest.raises(SettingsError, match=r"width 0\.5 does not exist: micronet_m0 comes in wid"):
        run("micronet_m0", "--width", "0.5")


def test_layers() -> None:
    document = run_json("mobilenet_v2", "--layers", "--width", "0.5", "--input-size", "96")
    layers = document["layers"]
    assert layers[0]["name"] == "stem.conv"
    assert layers[0]["output_shape"] == [16, 48, 48]
    assert sum(layer["multiply_adds"] for layer in layers) == document["multiply_adds"]
    assert sum(layer["share"] for layer in layers) == pytest.approx(100)
    text = run("mobilenet_v2", "--layers")
    assert "blocks.16.projection" in text
    assert "300,774,272" in text


def find_row(text: str, layer: str) -> list[str]:
    """The cells of a layer's line: columns are at least two blanks apart."""
    (line,) = (line for line in text.splitlines() if line.startswith(f"{layer} "))
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_layers_are_written_as_in_the_papers_table_1() -> None:
    text = run("mobilenet_v1", "--layers")
    assert find_row(text, "stem")[1:4] == ["Conv / s2", "3 × 3 × 3 × 32", "224 × 224 × 3"]
    assert find_row(text, "blocks.0.depthwise")[1:4] == [
        "Conv dw / s1",
        "3 × 3 × 32 dw",
        "112 × 112 × 32",
    ]
    assert find_row(text, "blocks.0.pointwise") == [
        "blocks.0.pointwise",
        "Conv / s1",
        "1 × 1 × 32 × 64",
        "112 × 112 × 32",
        "25,690,112",
        "4.52 %",
        "231,211,008",
        "0.1267",
    ]
    assert find_row(text, "blocks.11.depthwise")[1] == "Conv dw / s2"
    assert find_row(text, "classifier")[1:4] == ["FC / s1", "1024 × 1000", "1 × 1 × 1024"]
    assert find_row(text, "total") == ["total", "568,740,352", "100.00 %"]


def test_separable_pairs_stand_beside_their_standard_convolution() -> None:
    layers = run_json("mobilenet_v1", "--layers")["layers"]
    depthwise, pointwise = layers[3:5]
    assert (depthwise["standard_multiply_adds"], depthwise["ratio"]) == (None, None)
    assert pointwise["standard_multiply_adds"] == 3 * 3 * 64 * 128 * 56 * 56
    assert pointwise["ratio"] == pytest.approx(1 / 128 + 1 / 9)
    assert "as standard" not in run("conv_mobilenet", "--layers")


def test_filters_of_one_column_or_row() -> None:
    text = run("micronet_m0", "--layers")
    assert find_row(text, "blocks.0.depthwise.vertical")[1:3] == ["Conv dw / s2", "3 × 1 × 8 dw"]
    assert find_row(text, "blocks.0.projection")[1:3] == ["Conv / s1, 2 groups", "1 × 1 × 8 × 8"]


def test_layers_need_a_name() -> None:
    result = CliRunner().invoke(command, ["--layers"])
    assert result.exit_code == 2
    assert "--layers needs the NAME of a family" in result.output


def test_unknown_name() -> None:
    with pytest.raises(SettingsError, match="no family is called 'lenet'"):
        run("lenet")
