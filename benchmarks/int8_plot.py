"""The table of a checkpoint and the plot of all for `int8_accuracy.py`.

The plot has a row for each tool, grouped by board, the highest SQNR on average first, and a column
for each checkpoint: a bar for the SQNR of the logits, with agreement beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any, NamedTuple
from xml.etree import ElementTree

from edgekit.report.plot import Plot, Scale

WIDTH, LEFT, TOP, BOTTOM = 960, 232, 44, 34
ROW, BAR, HEADING = 21, 13, 34
FIGURES = 130
"""The width that the figures after the longest bar need."""
GROUPS = {
    False: "Raspberry Pi: asymmetric activations",
    True: "Jetson: symmetric activations, zero point 0",
}
STYLE = """
text { font: 12px system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif; fill: #14171f; }
.page { fill: #ffffff; }
.tick { fill: #5a6475; }
.heading, .own { font-weight: 600; }
.axis { stroke: #8a93a3; }
.bar { stroke-width: 1.5; }
.bar.own { fill: #2563c9; stroke: #2563c9; }
.bar.other { fill: #a3abb8; stroke: #a3abb8; }
.bar.unfit { fill: none; stroke: #a3abb8; }
@media (prefers-color-scheme: dark) {
  text { fill: #e8ebf0; }
  .page { fill: #14171f; }
  .tick { fill: #a3abb8; }
  .bar.own { fill: #6fa1f7; stroke: #6fa1f7; }
  .bar.other { fill: #6a7484; stroke: #6a7484; }
  .bar.unfit { stroke: #6a7484; }
}
"""


class Row(NamedTuple):
    """One artifact. The figures are None where there is none, and `reason` says why.

    `int8_layers` of a Jetson's is 0 where the TensorRT builder refuses it, None without a builder.
    `fits` says whether the board can compute what the artifact means.
    """

    title: str
    symmetric: bool
    fits: bool = True
    reason: str = ""
    runtime: str = ""
    top1_percent: float | None = None
    agreement_percent: float | None = None
    sqnr_db: float | None = None
    duration_s: float | None = None
    int8_layers: int | None = None

    @property
    def target(self) -> str:
        return "jetson" if self.symmetric else "pi"

    @property
    def is_own(self) -> bool:
        return self.title.startswith("edgekit")


def merge(old: Sequence[Row], new: Sequence[Row]) -> list[Row]:
    """`new` rows in place of `old` ones; asymmetric activations first, edgekit first among each."""
    rows = {(row.title, row.symmetric): row for row in (*old, *new)}
    return sorted(rows.values(), key=lambda row: (row.symmetric, not row.is_own))


def find_best_others(rows: Sequence[Row]) -> list[Row]:
    """The other tools' highest SQNR for each board, of artifacts that it can compute."""
    others = [row for row in rows if row.sqnr_db and row.fits and not row.is_own]
    groups = ([row for row in others if row.symmetric == kind] for kind in GROUPS)
    return [max(group, key=lambda row: row.sqnr_db) for group in groups if group]


def make_table(name: str, top1: float, rows: Sequence[Row]) -> str:
    """A Markdown table with its title.

    Args:
        name: the checkpoint.
        top1: of the float network, in percent.
        rows: the artifacts.
    """
    lines = [
        f"**{name}**, float top-1 {top1:.2f} %:\n",
        "| tool | activations | run by | top-1 | drop | agreement | SQNR | seconds | TensorRT |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    best = find_best_others(rows)
    for row in rows:
        bold = "**" if row in best or row.is_own else ""
        title = f"{bold}{row.title}{bold}{'' if row.fits else ' ¹'}"
        kind = "symmetric" if row.symmetric else "asymmetric"
        if row.reason:
            lines.append(f"| {title} | {kind} | none: {row.reason} | | | | | | |")
            continue
        layers = "" if row.int8_layers is None else f"{row.int8_layers} int8"
        lines.append(
            f"| {title} | {kind} | {row.runtime} | {row.top1_percent:.2f} %"
            f" | {top1 - row.top1_percent:.2f} | {bold}{row.agreement_percent:.2f} %{bold}"
            f" | {bold}{row.sqnr_db:.2f} dB{bold} | {row.duration_s:.0f} | {layers} |"
        )
    return "\n".join(lines)


def draw_checkpoints(checkpoints: Mapping[str, Any]) -> ElementTree.Element:
    """The SVG document. `checkpoints`: file name → its `rows`, as `Row`'s fields."""
    columns = {
        "_".join(name.split("_")[:4]): [Row(**row) for row in measured["rows"]]
        for name, measured in checkpoints.items()
    }
    return draw(columns)


def draw(columns: Mapping[str, Sequence[Row]]) -> ElementTree.Element:
    """The SVG document."""
    rows = [row for column in columns.values() for row in column]
    groups = {kind: rank([row for row in rows if row.symmetric == kind]) for kind in GROUPS}
    height = TOP + sum(HEADING + ROW * len(titles) for titles in groups.values()) + BOTTOM
    plot = Plot("SQNR of the logits and agreement with float, by tool and checkpoint", height)
    plot.root.set("viewBox", f"0 0 {WIDTH} {height}")
    plot.root.set("width", str(WIDTH))
    plot.root.set("xmlns", "http://www.w3.org/2000/svg")
    ElementTree.SubElement(plot.root, "style").text = STYLE
    plot.add("rect", "page", width=WIDTH, height=height)
    step = (WIDTH - LEFT) / len(columns)
    most = max(row.sqnr_db or 0 for row in rows)
    for index, (name, column) in enumerate(columns.items()):
        start = LEFT + step * index
        plot.write(name, "heading", start, 20)
        plot.write("SQNR · agreement with float", "tick", start, 37)
        _draw_column(plot, column, groups, Scale(0, most, start, start + step - FIGURES))
    top = TOP
    for kind, titles in groups.items():
        plot.write(GROUPS[kind], "heading", 12, top + HEADING - 12)
        top += HEADING
        for index, title in enumerate(titles):
            plot.write(title, _text_kind(title), 12, top + ROW * index + BAR - 2)
        top += ROW * len(titles)
    plot.write("outlined: not what the board can compute", "tick", 12, height - 12)
    return plot.root


def rank(rows: Sequence[Row]) -> list[str]:
    """Their titles, the highest SQNR on average first."""
    figures: dict[str, list[float]] = {}
    for row in rows:
        figures.setdefault(row.title, []).append(row.sqnr_db or 0)
    return sorted(figures, key=lambda title: -mean(figures[title]))


def _draw_column(
    plot: Plot, rows: Sequence[Row], groups: Mapping[bool, Sequence[str]], scale: Scale
) -> None:
    """A checkpoint's bars in the order of `groups`."""
    top = TOP
    for kind, titles in groups.items():
        top += HEADING
        bottom = top + ROW * len(titles) - (ROW - BAR)
        for row in rows:
            if row.symmetric == kind:
                _draw_bar(plot, row, scale, top + ROW * titles.index(row.title))
        plot.add("line", "axis", x1=scale.start, x2=scale.start, y1=top - 4, y2=bottom + 4)
        top += ROW * len(titles)


def _draw_bar(plot: Plot, row: Row, scale: Scale, top: float) -> None:
    if row.sqnr_db is None:
        plot.write("none", "tick", scale.start + 6, top + BAR - 2)
        return
    figures = f"{row.sqnr_db:.1f} dB · {row.agreement_percent:.1f} %"
    length = scale(row.sqnr_db) - scale.start
    kind = "own" if row.is_own else "other" if row.fits else "unfit"
    title = f"{row.title}: {figures}"
    plot.add("rect", f"bar {kind}", title, x=scale.start, y=top, width=length, height=BAR)
    plot.write(figures, _text_kind(row.title), scale.start + length + 6, top + BAR - 2)


def _text_kind(title: str) -> str:
    return "own" if title.startswith("edgekit") else "label"
