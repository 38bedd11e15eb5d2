"""Where a conversion loses accuracy, as JSON and as one self-contained page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import msgspec

from edgekit._version import __version__
from edgekit.evaluation.accuracy import Evaluation
from edgekit.evaluation.layer_sqnr import LayerSqnr
from edgekit.files import write_folder
from edgekit.report.html import add, add_plot, add_table, frame_page
from edgekit.report.plot import BOTTOM, WIDTH, Plot, Scale
from edgekit.report.table import Table
from edgekit.spec import Record

JSON_NAME, PAGE_NAME = "accuracy.json", "accuracy.html"
WORST = 10
EXACT_DB = 100.0
"""SQNR beyond float32's own rounding; bars end here."""


class Step(Record, frozen=True, kw_only=True):
    """One stage of the conversion; agreement and SQNR against the first."""

    step: str
    top1: float
    top5: float
    images: int
    agreement: float | None
    sqnr_db: float | None


class AccuracyReport(Record, frozen=True, kw_only=True):
    """What `edgekit evaluate` found of one bundle. `layers` are in the order of the graph."""

    edgekit: str = __version__
    bundle: str
    runtime: str
    top1: float
    top5: float
    images: int
    agreement: float | None
    sqnr_db: float | None
    steps: tuple[Step, ...] = ()
    layers: tuple[LayerSqnr, ...] = ()

    @property
    def worst_layers(self) -> list[LayerSqnr]:
        """The layers with the lowest SQNR, worst first."""
        return sorted(self.layers, key=lambda layer: layer.sqnr_db)[:WORST]


def list_steps(steps: dict[str, Evaluation]) -> tuple[Step, ...]:
    return tuple(Step(step=name, **evaluation._asdict()) for name, evaluation in steps.items())


def write_accuracy(report: AccuracyReport, folder: Path) -> None:
    """Write accuracy.json and accuracy.html, both of them or none.

    Raises OutputError when `folder` cannot be made or written to; nothing is left behind then.
    """
    contents = {
        JSON_NAME: msgspec.json.format(msgspec.json.encode(report), indent=1),
        PAGE_NAME: render_page(report).encode(),
    }
    write_folder(folder, contents)


def render_page(report: AccuracyReport) -> str:
    """The page, as one document that asks for nothing else."""
    main = ElementTree.Element("main")
    title = f"Accuracy of {report.bundle}"
    add(main, "h1", title)
    add(main, "p", f"edgekit evaluate, {report.images:,} images, {report.runtime}", "subtitle")
    figures = add(main, "section", kind="figures")
    for name, value, detail in _figures(report):
        card = add(figures, "div", kind="figure")
        add(card, "span", name, "name")
        add(card, "span", value, "value")
        add(card, "span", detail, "detail")
    flow = add(main, "section", kind="flow")
    if report.steps:
        add_plot(flow, "SQNR of the logits, step by step", draw_steps(report.steps))
        add_table(flow, steps_table(report.steps))
    if report.layers:
        add_plot(flow, "The layers that lose most", draw_layers(report.worst_layers))
        add_table(flow, layers_table(report.layers))
    return frame_page(title, main)


def _figures(report: AccuracyReport) -> list[tuple[str, str, str]]:
    figures = [
        ("Top-1", f"{report.top1:.2f} %", f"{report.images:,} images"),
        ("Top-5", f"{report.top5:.2f} %", ""),
    ]
    if report.agreement is not None:
        figures.append(("Agreement", f"{report.agreement:.2f} %", "same best class as in float"))
        figures.append(("SQNR", f"{report.sqnr_db:.2f} dB", "of the logits, against float"))
    return figures


def steps_table(steps: Sequence[Step]) -> Table:
    """Agreement and SQNR are against the first step."""
    rows = tuple(
        (
            step.step,
            f"{step.top1:.2f} %",
            f"{step.top5:.2f} %",
            f"{step.agreement:.2f} %",
            "exact" if _decibels(step) >= EXACT_DB else f"{step.sqnr_db:.1f} dB",
        )
        for step in steps
    )
    return Table(
        "Step by step",
        ("step", "top-1", "top-5", "agreement", "SQNR"),
        rows,
        note="Agreement and SQNR against the first step.",
    )


def layers_table(layers: Sequence[LayerSqnr]) -> Table:
    rows = tuple(
        (str(layer.layer), layer.operator, _shape(layer), f"{layer.sqnr_db:.1f} dB")
        for layer in layers
    )
    return Table("All layers", ("layer", "operator", "output", "SQNR"), rows)


def draw_steps(steps: Sequence[Step]) -> ElementTree.Element:
    """One bar a step after the first, as long as its SQNR."""
    return _draw_bars(
        "SQNR of each step",
        [(step.step, _decibels(step), f"{step.agreement:.2f} % agreement") for step in steps[1:]],
    )


def draw_layers(layers: Sequence[LayerSqnr]) -> ElementTree.Element:
    """One bar a layer, as long as its SQNR: short bars are bad."""
    return _draw_bars(
        "SQNR of the worst layers",
        [
            (f"{layer.layer} {_short(layer.operator)} {_shape(layer)}", layer.sqnr_db, "")
            for layer in layers
        ],
    )


def _draw_bars(label: str, bars: Sequence[tuple[str, float, str]]) -> ElementTree.Element:
    row = 22
    plot = Plot(label, 24 + row * len(bars) + BOTTOM)
    longest = max((min(value, EXACT_DB) for _, value, _ in bars), default=1.0)
    x = Scale(0, longest, 190, WIDTH - 70)
    for index, (name, value, detail) in enumerate(bars):
        y = 14 + index * row
        exact = value >= EXACT_DB
        spelled = "exact" if exact else f"{value:.1f} dB"
        title = f"{name}: {spelled}" + (f", {detail}" if detail else "")
        length = max(1.0, x(min(value, EXACT_DB)) - x(0))
        plot.write(name, "small", 184, y + 11, "end")
        plot.add("rect", "bar", title, x=x(0), y=y, width=round(length, 2), height=row - 7)
        plot.write(spelled, "small", round(x(0) + length + 4, 2), y + 11)
    plot.x_axis(x, "dB")
    return plot.root


def _decibels(step: Step) -> float:
    return EXACT_DB if step.sqnr_db is None else step.sqnr_db


def _shape(layer: LayerSqnr) -> str:
    return "×".join(map(str, layer.shape))


def _short(operator: str) -> str:
    return operator.removesuffix("_2D").replace("_", " ").lower()
