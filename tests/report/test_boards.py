"""One report over several boards, in every form."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from edgekit.errors import ReportError
from edgekit.profile.record import (
    BoardEntry,
    BoardsReport,
    folder_name,
    read_any_report,
    read_report,
)
from edgekit.report.rendering import render
from edgekit.report.write import write_report
from tests.environments import REPOSITORY
from tests.report.chromium import CHROMIUM, MISSING, VIEWS, Page
from tests.report.records import make_report, make_result

HOSTILE = "<script>alert(1)</script>|`x`"


def make_boards() -> BoardsReport:
    fast = make_report(make_result(median_ms=6.0))
    board = msgspec.structs.replace(fast.device, board="Raspberry Pi 5 Model B Rev 1.0")
    return BoardsReport(
        created="2026-11-26T08:00:00+00:00",
        boards=(
            BoardEntry(host="pi@pi-4", report=make_report(reasons=("it throttled",))),
            BoardEntry(
                host="pi@pi-5",
                report=msgspec.structs.replace(fast, device=board),
                notes=(f"clock: {HOSTILE}",),
            ),
            BoardEntry(host="pi@away", report=None, error=f"nothing answers there: {HOSTILE}"),
        ),
    )


def render_terminal(report: BoardsReport, width: int = 100) -> str:
    stream = io.StringIO()
    render(report).show(Console(file=stream, width=width))
    return stream.getvalue()


FORMS = {
    "terminal": render_terminal,
    "markdown": lambda report: render(report).markdown(),
    "html": lambda report: render(report).html(),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_compares_the_boards(form: str) -> None:
    text = " ".join(FORMS[form](make_boards()).replace("\\", "").split())
    for said in (
        "digits on 3 boards",
        "2 of 3 boards gave a record, 1 of them trusted",
        "pi@away: nothing answers there",
        "pi@pi-4 is not trusted: it throttled",
        "Raspberry Pi 5 Model B Rev 1.0",
        "Cortex-A72",
        "17.88",
        "5.96",
    ):
        assert said in text, said


def test_texts_stay_texts() -> None:
    shown = render(make_boards())
    assert "<script>alert" not in shown.html()
    assert not re.search(r"(?<!\\)<script>", shown.markdown())


def test_markdown_has_one_title_and_a_heading_a_board() -> None:
    lines = render(make_boards()).markdown().splitlines()
    assert [line for line in lines if line.startswith("# ")] == ["# digits on 3 boards"]
    boards = [line for line in lines if line.startswith("## pi@")]
    assert [line.partition(":")[0] for line in boards] == ["## pi@pi-4", "## pi@pi-5"]


def test_all_boards_away() -> None:
    report = BoardsReport(
        created="now", boards=(BoardEntry(host="a", report=None, error="no power"),)
    )
    for form in FORMS.values():
        assert "a: no power" in form(report)


def test_it_comes_back_from_its_folder(tmp_path: Path) -> None:
    write_report(make_boards(), tmp_path)
    assert read_any_report(tmp_path) == make_boards()
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["boards"][0]["report"]["throughput_fps"] > 0


def test_what_wants_one_board_says_where_it_is(tmp_path: Path) -> None:
    write_report(make_boards(), tmp_path)
    with pytest.raises(ReportError, match=r"holds 3 boards: .* \(pi@pi-4, pi@pi-5\)"):
        read_report(tmp_path)


def test_report_show(tmp_path: Path) -> None:
    write_report(make_boards(), tmp_path)
    command = [sys.executable, "-m", "edgekit", "report", "show", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "2 of 3 boards" in done.stdout


@pytest.mark.parametrize(
    ("host", "folder"),
    [
        ("pi@board.local", "pi@board.local"),
        ("ssh://pi@board:2222/", "ssh___pi@board_2222_"),
        ("../up", "_up"),
        ("..", "board"),
    ],
)
def test_a_host_as_a_folder(host: str, folder: str) -> None:
    assert folder_name(host) == folder


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip(MISSING)
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(make_boards()).html(), encoding="utf-8")
    page = Page(path)
    yield page
    page.close()


def test_the_browser_asks_for_nothing_and_does_not_complain(page: Page) -> None:
    asked = [url for url in page.requests() if not url.startswith("data:")]
    assert [url.rpartition("/")[2] for url in asked] == ["report.html"]
    assert page.complaints() == []


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_sticks_out_sideways(page: Page, view: str) -> None:
    page.show(view)
    width, shown = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= shown
