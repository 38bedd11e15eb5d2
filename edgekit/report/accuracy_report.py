"""Writes an evaluation as JSON and as one self-contained page: where accuracy is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import msgspec

from edgekit.evaluation.evaluate_bundle import Evaluation
from edgekit.evaluation.layer_sqnr import LayerSqnr
from edgekit.files import write_folder
from edgekit.report.html import add, add_figures, add_plot, add_table, frame_page
from edgekit.report.outline import Figure
from edgekit.report.plot import BOTTOM, WIDTH, Plot, Scale
from edgekit.report.table import Table
from edgekit.spec import Accuracy, AnswerKind

JSON_NAME, PAGE_NAME = "accuracy.json", "accuracy.html"
EXACT_DB = 100.0
"""SQNR beyond float32's own rounding; bars end here."""
_SAME: Mapping[AnswerKind, str] = {
    "best": "same best class as in float",
    "binary": "same class as in float",
    "multilabel": "same labels as in float",
}


def write_accuracy(evaluation: Evaluation, folder: Path) -> None:
    """Write accuracy.json and accuracy.html, both of them or none.

    Raises OutputError when `folder` cannot be made or written to; nothing is left behind then.
    """
    contents = {
        JSON_NAME: msgspec.json.format(msgspec.json.encode(evaluation.to_document()), indent=1),
        PAGE_NAME: render_page(evaluation).encode(),
    }
    write_folder(folder, contents)


def render_page(evaluation: Evaluation) -> str:
    """The page, as one document that asks for nothing else."""
    main = ElementTree.Element("main")
    title = f"Accuracy of {evaluation.bundle}"
    images = f"{evaluation.accuracy.images:,} images"
    add(main, "h1", title)
    add(main, "p", f"edgekit evaluate, {images}, {evaluation.runtime}", "subtitle")
    add_figures(main, _figures(evaluation.accuracy))
    flow = add(main, "section", kind="flow")
    if evaluation.steps:
        add_plot(flow, "SQNR of the logits, step by step", draw_step_sqnr(evaluation.steps))
        add_table(flow, steps_table(evaluation.steps))
    if evaluation.layers:
        add_plot(flow, "The layers that lose most", draw_layer_sqnr(evaluation.worst_layers))
        add_table(flow, layers_table(evaluation.layers))
    return frame_page(title, main)


def _figures(accuracy: Accuracy) -> list[Figure]:
    images = f"{accuracy.images:,} images"
    figures = [
        Figure(name.capitalize(), f"{value:.2f} %", images)
        for name, value in list_measures(accuracy)
    ]
    if accuracy.agreement is not None:
        agreement = f"{accuracy.agreement:.2f} %"
        figures.append(Figure("Agreement", agreement, _SAME[accuracy.kind]))
        sqnr = f"{accuracy.sqnr_db:.2f} dB"
        figures.append(Figure("SQNR", sqnr, "of the logits, against float"))
    return figures


def list_measures(accuracy: Accuracy) -> list[tuple[str, float]]:
    """What was measured of the answers against the labels, by name, in percent."""
    measures = {
        accuracy.measure: accuracy.top1,
        "top-5": accuracy.top5,
        "labels right": accuracy.label_accuracy,
    }
    return [(name, value) for name, value in measures.items() if value is not None]


def steps_table(steps: Mapping[str, Accuracy]) -> Table:
    """Agreement and SQNR are against the first step."""
    rows = tuple(
        (
            name,
            *(f"{value:.2f} %" for _, value in list_measures(step)),
            f"{step.agreement:.2f} %",
            "exact" if _decibels(step) >= EXACT_DB else f"{step.sqnr_db:.1f} dB",
        )
        for name, step in steps.items()
    )
    measures = [name for name, _ in list_measures(next(iter(steps.values())))]
    return Table(
        "Step by step",
        ("step", *measures, "agreement", "SQNR"),
        rows,
        note="Agreement and SQNR against the first step.",
    )


def layers_table(layers: Sequence[LayerSqnr]) -> Table:
    """Make the table of the layers that lose most."""
    rows = tuple(
        (str(layer.layer), layer.operator, _shape(layer), f"{layer.sqnr_db:.1f} dB")
        for layer in layers
    )
    return Table("All layers", ("layer", "operator", "output", "SQNR"), rows)


def draw_step_sqnr(steps: Mapping[str, Accuracy]) -> ElementTree.Element:
    """One bar a step after the first, as long as its SQNR."""
    return _draw_bars(
        "SQNR of each step",
        [
            (name, _decibels(step), f"{step.agreement:.2f} % agreement")
            for name, step in [*steps.items()][1:]
        ],
    )


def draw_layer_sqnr(layers: Sequence[LayerSqnr]) -> ElementTree.Element:
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


def _decibels(step: Accuracy) -> float:
    return EXACT_DB if step.sqnr_db is None else step.sqnr_db


def _shape(layer: LayerSqnr) -> str:
    return "×".join(map(str, layer.shape))


def _short(operator: str) -> str:
    return operator.removesuffix("_2D").replace("_", " ").lower()
