"""What the three renderings say, that texts stay texts, and that the page asks for nothing."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import msgspec
import pytest
from rich.console import Console

from edgekit.profile.conditions import Snapshot
from edgekit.report.html import render_html
from edgekit.report.markdown import render_markdown
from edgekit.report.outline import outline
from edgekit.report.plots import draw_distribution, draw_sensor, draw_timeline, ticks
from edgekit.report.terminal import print_outline
from tests.report.records import make_report, make_result

HOSTILE = '<script>alert(1)</script>|`x`"&'
REASON = "the board limited itself during the run (0x4: now throttled): cool the board"


def render_terminal(report, width: int = 80) -> str:
    stream = io.StringIO()
    print_outline(outline(report), Console(file=stream, width=width))
    return stream.getvalue()


RENDERINGS = {
    "terminal": render_terminal,
    "markdown": lambda report: render_markdown(outline(report)),
    "html": lambda report: render_html(outline(report)),
}


@pytest.mark.parametrize("form", RENDERINGS)
def test_every_rendering_says_the_same(form):
    text = RENDERINGS[form](make_report())
    for said in (
        "Raspberry Pi 4 Model B Rev 1.4",
        "Trusted",
        "45.0 frames/s",
        "1.31 s",
        "81.0 MB",
        "16.8 GMAC/s",
        "preprocess",
        "XNNPACK, 2 partitions",
        "1 AVERAGE",
        "ondemand",
        "57.9 °C",
    ):
        assert said in text.replace("\\", ""), said


@pytest.mark.parametrize("form", RENDERINGS)
def test_an_untrusted_run_says_so_and_why(form):
    text = RENDERINGS[form](make_report(reasons=(REASON,)))
    assert "Not trusted" in text
    assert REASON in " ".join(text.split())


def test_terminal_fits_eighty_columns():
    assert max(map(len, render_terminal(make_report(reasons=(REASON,))).splitlines())) <= 80


class Links(HTMLParser):
    """Collects what a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.fetched: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.fetched += [value for name, value in attrs if name in ("src", "href", "xlink:href")]


def test_html_asks_for_nothing():
    page = render_html(outline(make_report(make_result("a"), make_result("b"))))
    links = Links()
    links.feed(page)
    assert links.fetched == ["data:,"]
    assert not links.tags & {"script", "img", "iframe", "object"}
    assert not re.search(r"https?://|@import|url\(", page)
    assert page.count("<svg") == 2 * 3 + 2


def test_html_escapes_every_text():
    report = make_report(make_result(HOSTILE), reasons=(HOSTILE,))
    page = render_html(outline(report))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_markdown_escapes_every_text():
    page = render_markdown(outline(make_report(make_result(HOSTILE), reasons=(HOSTILE,))))
    assert "<" not in page.replace("\\<", "")
    row = next(line for line in page.splitlines() if line.startswith("| file |"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 3


def test_tables_of_markdown_keep_their_shape():
    lines = render_markdown(outline(make_report())).splitlines()
    rule = re.compile(r"\|( -+:? \|)+")
    for index, line in enumerate(lines):
        if rule.fullmatch(line):
            assert lines[index - 1].count("|") == line.count("|")


def test_what_the_machine_does_not_tell_is_named():
    report = make_report()
    silent = Snapshot(time_s=0.0)
    conditions = msgspec.structs.replace(
        report.conditions, before=silent, during=(silent,), after=silent
    )
    report = msgspec.structs.replace(report, conditions=conditions)
    text = render_markdown(outline(report))
    assert "does not tell: temperature, fastest core, governor, throttling" in text
    assert render_html(outline(report)).count("<svg") == 3


def heights(plot: ElementTree.Element, kind: str) -> list[str]:
    return [mark.findtext("title") for mark in plot.iter(kind) if mark.get("class") == "bar"]


def test_distribution_leaves_no_run_out():
    result = make_result()
    counted = [int(title.split()[0]) for title in heights(draw_distribution(result), "rect")]
    assert sum(counted) == result.model_ms.count
    assert any("beyond" in title for title in heights(draw_distribution(result), "rect"))


def test_timeline_marks_the_longest_run():
    titles = [mark.text for mark in draw_timeline(make_result()).iter("title")]
    assert any("longest 55.80 ms" in title for title in titles)


def test_plots_of_a_single_run():
    result = make_result()
    chunk = msgspec.structs.replace(result.model_samples[0], latency_ms=(18.0,))
    only = msgspec.structs.replace(
        result.model_ms, p50=18.0, p90=18.0, p95=18.0, p99=18.0, min=18.0, max=18.0, count=1
    )
    result = msgspec.structs.replace(result, model_samples=(chunk,), model_ms=only)
    assert "nan" not in render_html(outline(make_report(result)))


def test_sensor_without_readings_is_not_drawn():
    assert draw_sensor([Snapshot(time_s=0.0)] * 2, "T", [None, 50.0], "°C") is None


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (17.3, 19.1, [17.5, 18, 18.5, 19]), (5, 5, [5])],
)
def test_ticks_are_round(low, high, expected):
    assert ticks(low, high, 5)[: len(expected)] == expected
