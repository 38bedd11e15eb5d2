"""What the three renderings say, that texts stay texts, and that the page asks for nothing."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from xml.etree import ElementTree

import msgspec
import pytest
from rich.console import Console

from edgekit.board.conditions import Snapshot
from edgekit.profile.record import Report
from edgekit.report.html import render_html
from edgekit.report.markdown import render_markdown
from edgekit.report.outline import outline
from edgekit.report.plot import ticks
from edgekit.report.plots import draw_distribution, draw_layers
from edgekit.report.run_tables import find_pareto, find_rated
from edgekit.report.terminal import print_outline
from edgekit.report.timeline import draw_timeline
from edgekit.report.tradeoff import draw_tradeoff, wilson_interval
from tests.report.records import DEVICE, make_report, make_result, on_gpu, with_accuracy

HOSTILE = '<script>alert(1)</script>|`x`"&'
REASON = "the board limited itself during the run (0x4: now throttled): cool the board"


def render_terminal(report: Report, width: int = 80) -> str:
    stream = io.StringIO()
    print_outline(outline(report), Console(file=stream, width=width))
    return stream.getvalue()


RENDERINGS: dict[str, Callable[[Report], str]] = {
    "terminal": render_terminal,
    "markdown": lambda report: render_markdown(outline(report)),
    "html": lambda report: render_html(outline(report)),
}


def test_a_terminal_obeys_nothing_of_a_record() -> None:
    board = "Evil \x1b[31mRED\x1b]0;title\x07 \x1b[2J board"
    report = make_report(device=msgspec.structs.replace(DEVICE, board=board), reasons=(board,))
    text = render_terminal(report)
    assert "Evil" in text
    assert not {"\x1b", "\x07"} & set(text)


WORKSTATION = msgspec.structs.replace(DEVICE, board="unknown", cpu="Intel Xeon")


@pytest.mark.parametrize("form", RENDERINGS)
def test_a_model_on_a_gpu(form: str) -> None:
    report = make_report(on_gpu(make_result()), device=WORKSTATION)
    text = " ".join(RENDERINGS[form](report).replace("\\", "").split())
    for said in ("digits on NVIDIA H200 (SM90)", "GPU", "3 node_conv2d_23", "0.010", "38%"):
        assert said in text, said
    assert "2 node_conv2d + node_relu" in text
    for hidden in ("_quantize", "M adds", "GMAC/s 0", "delegate ", "of one invoke"):
        assert hidden not in re.sub(r"<title>.*?</title>", "", text), hidden


@pytest.mark.parametrize("form", RENDERINGS)
def test_every_rendering_says_the_same(form: str) -> None:
    text = " ".join(RENDERINGS[form](make_report()).replace("\\", "").split())
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
        "29% of the 57.6 GMAC/s peak",
        "99.7% XNNPACK, 0.3% plain kernels",
        "0 conv 56×56×16",
        "add up to the 18.000 ms of one invoke",
        "model read, checked, made ready",
        "VDD_IN",
        "78.18 mJ",
        "With 95 % confidence the model's median is in 17.",
    ):
        assert said in text, said


@pytest.mark.parametrize("form", RENDERINGS)
def test_an_untrusted_run_says_so_and_why(form: str) -> None:
    text = RENDERINGS[form](make_report(reasons=(REASON,)))
    assert "Not trusted" in text
    assert REASON in " ".join(text.split())


def test_terminal_fits_eighty_columns() -> None:
    assert max(map(len, render_terminal(make_report(reasons=(REASON,))).splitlines())) <= 80


class Links(HTMLParser):
    """Collects what a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.fetched += [value for name, value in attrs if name in ("src", "href", "xlink:href")]


def test_html_asks_for_nothing() -> None:
    page = render_html(outline(make_report(make_result("a"), make_result("b"))))
    links = Links()
    links.feed(page)
    assert links.fetched == ["data:,"]
    assert not links.tags & {"script", "img", "iframe", "object"}
    assert not re.search(r"https?://|@import|url\(", page)
    assert page.count("<svg") == 2 * 4


def test_html_escapes_every_text() -> None:
    report = make_report(make_result(HOSTILE), reasons=(HOSTILE,))
    page = render_html(outline(report))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_markdown_escapes_every_text() -> None:
    page = render_markdown(outline(make_report(make_result(HOSTILE), reasons=(HOSTILE,))))
    assert "<" not in page.replace("\\<", "")
    row = next(line for line in page.splitlines() if line.startswith("| file |"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 3


def test_tables_of_markdown_keep_their_shape() -> None:
    lines = render_markdown(outline(make_report())).splitlines()
    rule = re.compile(r"\|( -+:? \|)+")
    for index, line in enumerate(lines):
        if rule.fullmatch(line):
            assert lines[index - 1].count("|") == line.count("|")


def test_what_the_machine_does_not_tell_is_named() -> None:
    report = make_report()
    silent = Snapshot(time_s=0.0)
    conditions = msgspec.structs.replace(
        report.conditions, before=silent, during=(silent,), after=silent
    )
    report = msgspec.structs.replace(report, conditions=conditions)
    text = render_markdown(outline(report))
    assert "does not report: temperature, fastest core, governor, throttling" in text
    assert render_html(outline(report)).count("<svg") == 4


@pytest.mark.parametrize("form", RENDERINGS)
def test_accuracy_is_told_with_its_pareto_line(form: str) -> None:
    report = make_report(
        with_accuracy(make_result("small", 9.0), 61.0),
        with_accuracy(make_result("middle", 14.0), 59.0),
        with_accuracy(make_result("large", 18.0), 72.5),
    )
    text = " ".join(re.sub(r"[|<>/]|t[hdr]", " ", RENDERINGS[form](report)).split())
    assert re.search(r"middle 13.9\d 59.00 95.00 93.50 1,000 no", text)
    assert re.search(r"large 17.\d+ 72.50 95.00 93.50 1,000 yes", text)
    if form == "html":
        assert RENDERINGS[form](report).count("<svg") == 3 * 4 + 1


def test_accuracy_of_one_model_needs_no_plot() -> None:
    assert draw_tradeoff([with_accuracy(make_result(), 61.0)]) is None
    assert draw_tradeoff([make_result("a"), make_result("b")]) is None


def test_wilson_interval_narrows_with_more_images() -> None:
    # 61 of 100: 51.2 to 70.0 % (Wilson 1927)
    assert wilson_interval(61.0, 100) == pytest.approx((51.2, 69.99), abs=0.05)


def test_layers_outside_the_delegate_are_marked() -> None:
    bars = [bar.get("class") for bar in draw_layers(make_result()).iter("rect")]
    assert bars.count("bar outside") == 1
    assert len(bars) == 27


def test_a_surplus_too_large_is_told() -> None:
    result = make_result()
    layers = msgspec.structs.replace(result.layers, surplus=0.6)
    page = render_markdown(outline(make_report(msgspec.structs.replace(result, layers=layers))))
    assert "do not rely on these parts" in page


def heights(plot: ElementTree.Element, kind: str) -> list[str]:
    return [mark.findtext("title") for mark in plot.iter(kind) if mark.get("class") == "bar"]


def test_distribution_leaves_no_run_out() -> None:
    result = make_result()
    counted = [int(title.split()[0]) for title in heights(draw_distribution(result), "rect")]
    assert sum(counted) == result.model_ms.count
    assert any("beyond" in title for title in heights(draw_distribution(result), "rect"))


def test_timeline_marks_the_longest_run() -> None:
    titles = [mark.text for mark in draw_timeline(make_result(), ()).iter("title")]
    assert any("longest 55.80 ms" in title for title in titles)


def test_plots_of_a_single_run() -> None:
    result = make_result()
    chunk = msgspec.structs.replace(result.model_samples[0], latency_ms=(18.0,))
    only = msgspec.structs.replace(
        result.model_ms, p50=18.0, p90=18.0, p95=18.0, p99=18.0, min=18.0, max=18.0, count=1
    )
    result = msgspec.structs.replace(result, model_samples=(chunk,), model_ms=only)
    assert "nan" not in render_html(outline(make_report(result)))


def test_sensors_without_readings_have_no_lane() -> None:
    silent = [Snapshot(time_s=float(second)) for second in range(30)]
    told = [Snapshot(time_s=float(second), temperature_c=50.0) for second in range(30)]
    bare, lane = (draw_timeline(make_result(), snapshots) for snapshots in (silent, told))
    assert "temperature" not in [text.text for text in bare.iter("text")]
    assert "temperature" in [text.text for text in lane.iter("text")]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (17.3, 19.1, [17.5, 18, 18.5, 19]), (5, 5, [5])],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high, 5)[: len(expected)] == expected


@pytest.mark.parametrize("form", RENDERINGS)
def test_a_build_on_the_board_is_told(form: str) -> None:
    result = make_result()
    built = msgspec.structs.replace(
        result, engine=msgspec.structs.replace(result.engine, build_s=83.25)
    )
    plain, told = (
        " ".join(RENDERINGS[form](make_report(each)).split()) for each in (result, built)
    )
    assert "built on it in" in told and "83.2 s" in told
    assert "built on it in" not in plain


RAILS = {"CPU_GPU": 1.5, "VDD_IN": 4.5}


@pytest.mark.parametrize("form", RENDERINGS)
def test_the_main_rail_is_shown_and_named(form: str) -> None:
    report = make_report()
    readings = tuple(
        msgspec.structs.replace(snapshot, power_w=RAILS) for snapshot in report.conditions.during
    )
    conditions = msgspec.structs.replace(
        report.conditions, before=readings[0], during=readings, after=readings[-1]
    )
    text = RENDERINGS[form](msgspec.structs.replace(report, conditions=conditions))
    text = re.sub(r"[|<>/\\]|t[hdr]", " ", text)
    assert re.search(r"power of VDD_IN +4\.50 W", " ".join(text.split()))
    lane = draw_timeline(report.results[0], readings)
    assert "power of VDD_IN" in [text.text for text in lane.iter("text")]
    assert any("4.5 W" in (mark.text or "") for mark in lane.iter("title"))


def test_equally_accurate_models_that_cannot_be_told_apart_are_both_best() -> None:
    first = with_accuracy(make_result("first", 18.0), 60.0)
    second = with_accuracy(make_result("second", 18.02), 60.0)
    slow = with_accuracy(make_result("slow", 20.0), 60.0)
    worse = with_accuracy(make_result("worse", 18.01), 59.0)
    assert first.model_ms.p50 < second.model_ms.p50
    best = find_pareto(find_rated([slow, worse, second, first]))
    assert [one.result.model.name for one in best] == ["first", "second"]
