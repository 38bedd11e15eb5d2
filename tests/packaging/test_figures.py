"""The figures of the documentation are those of the committed results, and drift is found."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environments import REPOSITORY

SCRIPT = REPOSITORY / "benchmarks" / "fill_tables.py"
RESULTS = REPOSITORY / "benchmarks" / "results"


def fill(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--root", str(root), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """A copy of the pages, their plots and the results."""
    for folder in ("docs", "deploy", "calibration", "benchmarks"):
        for path in (REPOSITORY / folder).rglob("*"):
            if path.suffix in (".md", ".json", ".svg"):
                copy = tmp_path / path.relative_to(REPOSITORY)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
    for path in REPOSITORY.glob("*.md"):
        shutil.copy(path, tmp_path)
    return tmp_path


def find_page(root: Path, text: str) -> Path:
    """The first page that holds `text`."""
    return next(page for page in sorted(root.rglob("*.md")) if text in page.read_text("utf-8"))


def test_pages_hold_the_figures_of_the_results() -> None:
    done = fill(REPOSITORY, "--check")
    assert done.returncode == 0, done.stderr


def test_a_changed_cell_of_a_table_is_found_and_fixed(pages: Path) -> None:
    page = find_page(pages, "<!-- table bundle_accuracy_pi -->")
    before = page.read_text("utf-8")
    cell = re.search(r"(?<=\| )\d\d\.\d+ %", before)
    assert cell is not None
    page.write_text(before.replace(cell[0], "99.99 %", 1), "utf-8")
    done = fill(pages, "--check")
    assert done.returncode == 1
    assert f"{page.relative_to(pages)}:" in done.stderr
    assert "99.99 %" in done.stderr and cell[0] in done.stderr
    assert fill(pages).returncode == 0
    assert page.read_text("utf-8") == before


def test_a_changed_figure_in_a_sentence_is_found_and_fixed(pages: Path) -> None:
    page = find_page(pages, "<!--= best_other/v1_0.25/pi/sqnr_db .1f -->")
    before = page.read_text("utf-8")
    changed = re.sub(r"[\d.]+(<!--= best_other/v1_0.25/pi/sqnr_db .1f -->)", r"99.9\1", before)
    assert changed != before
    page.write_text(changed, "utf-8")
    done = fill(pages, "--check")
    assert done.returncode == 1 and "99.9<!--=" in done.stderr
    assert fill(pages).returncode == 0
    assert page.read_text("utf-8") == before


def test_a_changed_result_is_found_in_every_page_that_shows_it(pages: Path) -> None:
    path = pages / "benchmarks/results/bundle_accuracy_jetson.json"
    result = json.loads(path.read_text("utf-8"))
    for figures in result["figures"].values():
        figures["sqnr_db"] += 1
    path.write_text(json.dumps(result), "utf-8")
    done = fill(pages, "--check")
    shown = [
        page.relative_to(pages)
        for page in pages.rglob("*.md")
        if "<!-- table bundle_accuracy_jetson -->" in page.read_text("utf-8")
    ]
    assert done.returncode == 1 and len(shown) > 1
    assert all(f"{page}:" in done.stderr for page in shown)


def test_a_changed_plot_is_found(pages: Path) -> None:
    plot = pages / "docs/images/int8-accuracy.svg"
    plot.write_text(plot.read_text("utf-8").replace("dB", "db", 1), "utf-8")
    done = fill(pages, "--check")
    assert done.returncode == 1 and "docs/images/int8-accuracy.svg" in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- table nothing -->\n\n<!-- end -->\n", "table nothing: there is no 'nothing'"),
        ("<!-- table speed -->\n", "an incomplete mark"),
        ("<!-- end -->\n", "an incomplete mark"),
        ("5<!--= start_up/nothing .1f -->\n", "start_up/nothing .1f: KeyError('nothing')"),
        ("5<!--= start_up/help_ms .1q -->\n", "start_up/help_ms .1q: ValueError"),
        ("about<!--= start_up/help_ms .1f -->\n", "there is no number before the comment"),
        ("5<!--= start_up/help_ms-->\n", "an incomplete mark"),
        ("| a | b |\n|---|---|\n| x | 5.3 ms |\n", "a table of figures without a result"),
    ],
)
def test_a_page_that_is_marked_wrongly_is_refused(pages: Path, text: str, message: str) -> None:
    (pages / "docs/more.md").write_text(f"# More\n\n{text}", "utf-8")
    done = fill(pages, "--check")
    assert done.returncode == 1
    assert "docs/more.md:3: " in done.stderr and message in done.stderr


def test_marks_in_a_block_of_code_stay_as_they_are(pages: Path) -> None:
    text = "# More\n\n```\n<!-- table NAME -->\n5<!--= start_up/nothing .1f -->\n```\n"
    (pages / "docs/more.md").write_text(text, "utf-8")
    assert fill(pages, "--check").returncode == 0
    assert fill(pages).returncode == 0
    assert (pages / "docs/more.md").read_text("utf-8") == text


def test_a_table_that_was_measured_once_says_so(pages: Path) -> None:
    table = "| a | b |\n|---|---|\n| x | 5.3 ms |\n"
    mark = "<!-- measured once, 2026-11-22: a trial -->"
    (pages / "docs/more.md").write_text(f"# More\n\n{mark}\n\n{table}", "utf-8")
    assert fill(pages, "--check").returncode == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"date": "yesterday"}, "start_up.json is not a result: Invalid isoformat string"),
        ({"figures": {}}, "start_up.json has no commit or no figures"),
        ({"transcribed": True, "document": None}, "start_up.json is transcribed, but names no"),
        ({"speed": 1}, "start_up.json is not a result: "),
    ],
)
def test_a_file_that_is_not_a_result_is_refused(pages: Path, change: dict, message: str) -> None:
    path = pages / "benchmarks/results/start_up.json"
    result = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(result | change), "utf-8")
    done = fill(pages, "--check")
    assert done.returncode == 1 and message in done.stderr


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_a_result_says_where_it_is_from(path: Path) -> None:
    result = json.loads(path.read_text("utf-8"))
    script = result["command"].split()[1]
    assert (REPOSITORY / script).is_file()
    assert Path(script).stem == result["benchmark"]
    assert re.fullmatch(r"[0-9a-f]{7,}", result["commit"]), "measure at a commit"
    if not result["transcribed"]:
        assert {"processor", "cores", "system", "python"} <= set(result["machine"])
        assert result["packages"]
    else:
        assert (REPOSITORY / result["document"]).is_file()
    assert not re.search(r'"/[a-z]', path.read_text("utf-8")), "a place on one machine"


@pytest.mark.parametrize("target", ["pi", "jetson"])
def test_two_scripts_give_the_same_accuracy(target: str) -> None:
    """edgekit's rows of `int8_accuracy` are what `bundle_accuracy` measures by commands."""
    alone = json.loads((RESULTS / f"bundle_accuracy_{target}.json").read_text("utf-8"))["figures"]
    beside = json.loads((RESULTS / "int8_accuracy.json").read_text("utf-8"))["figures"]
    assert set(alone) == set(beside)
    for name, figures in alone.items():
        (row,) = (
            row
            for row in beside[name]["rows"]
            if row["title"] == "edgekit balanced" and row["symmetric"] == (target == "jetson")
        )
        assert row["agreement_percent"] == pytest.approx(figures["agreement_percent"], abs=0.011)
        assert row["sqnr_db"] == pytest.approx(figures["sqnr_db"], abs=0.011)
        assert row["top1_percent"] == pytest.approx(figures["int8_top1_percent"], abs=0.011)
