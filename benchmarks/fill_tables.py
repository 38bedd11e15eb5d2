"""Write the figures of `benchmarks/results/*.json` into the pages, or check that they are there.

    python benchmarks/fill_tables.py [--check] [--root DIR]

A page marks what comes from a result with comments that no reader of the rendered page sees:

    <!-- table NAME -->              a table of `tables.py`, up to `<!-- end -->`
    27.58<!--= PATH FORMAT -->       one figure: keys from a result's name on, joined by slashes,
                                     and how Python writes it, such as `.2f`

The plots in `docs/images` that show results are drawn as well. With --check nothing is written:
every difference is reported with its file and line, and the exit code is 1 when there is one. So
it is for a table full of figures that neither comes from a result nor says, in a comment before
it, `<!-- measured once, YYYY-MM-DD: … -->`.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from results import REPOSITORY, ResultError, read_results
from tables import PLOTS, TABLES, derive_figures

UNFILLED = ("CHANGELOG.md",)
"""Pages that report former results."""
NUMBER = r"[-+−]?\d[\d,]*(?:\.\d+)?"
FIGURE = re.compile(rf"(?P<shown>{NUMBER})?<!--= (?P<path>\S+) (?P<format>\S+) -->")
TABLE = re.compile(r"<!-- table (?P<name>\S+) -->\n(?P<body>.*?)<!-- end -->", re.DOTALL)
ONCE = re.compile(r"<!-- measured once, \d{4}-\d\d-\d\d: [^>]+ -->")
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
HIDDEN = "\0!--"
"""Replaces the beginning of a comment in a block of code while a page is filled."""
MARK = re.compile(r"<!-- (?:table |end -->)|<!--=")
UNIT = "(?:%|dB|ms|s|µs|MB|M|×|frames/s)"
CELL = re.compile(
    rf"\**(?:±?{NUMBER}(?: to {NUMBER})? {UNIT}|{NUMBER} / {NUMBER}|{NUMBER}–{NUMBER}|"
    rf"{NUMBER} % / {NUMBER} dB|{NUMBER} \({NUMBER}\)|\d*\.\d\d\d)\**"
)
"""A cell of a table that holds a measured figure and nothing else."""


class Difference(NamedTuple):
    """One place in a page that differs from the results."""

    line: int
    text: str


class Page:
    """The text of one page with what the results make of it."""

    def __init__(self, text: str, figures: Mapping[str, Any]) -> None:
        self.text = text
        self.marked = FENCED.sub(lambda block: block[0].replace("<!--", HIDDEN), text)
        self.figures = figures
        self.problems: list[Difference] = []
        filled = FIGURE.sub(self._fill_figure, TABLE.sub(self._fill_table, self.marked))
        self.filled = filled.replace(HIDDEN, "<!--")

    def list_differences(self) -> list[Difference]:
        """What is wrong with the page, in the order of its lines."""
        lines = zip_longest(self.text.splitlines(), self.filled.splitlines(), fillvalue="")
        changed = next(
            (
                Difference(number, f"is: {before.strip()}\n  should be: {after.strip()}")
                for number, (before, after) in enumerate(lines, 1)
                if before != after
            ),
            None,
        )
        found = [*self.problems, *self._find_stray_marks(), *find_loose_tables(self.text)]
        return sorted([*found, changed] if changed else found)

    def _fill_table(self, match: re.Match[str]) -> str:
        name = match["name"]
        try:
            body = TABLES[name](self.figures)
        except KeyError as error:
            self._report(match, f"table {name}: there is no {error}")
            return match[0]
        return f"<!-- table {name} -->\n\n{body}\n\n<!-- end -->"

    def _fill_figure(self, match: re.Match[str]) -> str:
        try:
            value = look_up(self.figures, match["path"])
            shown = format(value, match["format"])
        except (KeyError, TypeError, ValueError) as error:
            self._report(match, f"{match['path']} {match['format']}: {error!r}")
            return match[0]
        if match["shown"] is None:
            self._report(match, f"{match['path']}: there is no number before the comment")
        return f"{shown}<!--= {match['path']} {match['format']} -->"

    def _find_stray_marks(self) -> Iterator[Difference]:
        """Comments that begin like a mark and are not complete."""
        known = {match.start() for match in re.finditer(r"<!--= \S+ \S+ -->", self.marked)}
        for table in TABLE.finditer(self.marked):
            known |= {table.start(), table.end() - len("<!-- end -->")}
        for match in MARK.finditer(self.marked):
            if match.start() not in known:
                yield Difference(count_lines(self.text, match.start()), "an incomplete mark")

    def _report(self, match: re.Match[str], text: str) -> None:
        self.problems.append(Difference(count_lines(match.string, match.start()), text))


def count_lines(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def look_up(figures: Mapping[str, Any], path: str) -> Any:
    """The figure at `NAME/key/key…`, an underscore for each space in a key.

    Raises:
        KeyError: there is no such key.
    """
    found: Any = figures
    for key in path.split("/"):
        found = {name.replace(" ", "_"): value for name, value in found.items()}[key]
    return found


def find_loose_tables(text: str) -> Iterator[Difference]:
    """Tables full of figures that are neither filled nor said to have been measured once."""
    blanked = TABLE.sub(lambda match: "\n" * match[0].count("\n"), text)
    previous, lines = "", blanked.splitlines()
    for number, line in enumerate(lines, 1):
        if line.startswith("|") and not lines[number - 2].startswith("|"):
            rows = list(read_rows(lines[number + 1 :]))
            if is_measured(rows) and not ONCE.fullmatch(previous):
                yield Difference(number, "a table of figures without a result")
        if line.strip():
            previous = line.strip()


def read_rows(lines: list[str]) -> Iterator[list[str]]:
    """The cells of a table's rows."""
    for line in lines:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


def is_measured(rows: list[list[str]]) -> bool:
    """Whether a column, but the first, holds figures with decimals or units and little else."""
    for column in list(zip_longest(*rows, fillvalue=""))[1:]:
        cells = [cell for cell in column if cell]
        figures = [cell for cell in cells if CELL.fullmatch(cell) and not cell.isdigit()]
        if len(figures) > len(cells) / 2 and not any("<!--=" in cell for cell in cells):
            return True
    return False


def find_pages(root: Path) -> list[Path]:
    """The Markdown files that have figures."""
    folders = ("docs", "deploy", "calibration", "benchmarks")
    nested = (path for folder in folders for path in (root / folder).rglob("*.md"))
    pages = {path for path in (*root.glob("*.md"), *nested) if path.name not in UNFILLED}
    return sorted(page for page in pages if "report-example" not in page.parts)


def fill(root: Path, *, check: bool) -> list[str]:
    """Fill or check all pages and plots; what is wrong, one text each."""
    results = read_results(root / "benchmarks" / "results")
    figures = derive_figures(results)
    wrong = []
    for path in find_pages(root):
        page = Page(path.read_text(encoding="utf-8"), figures)
        if not check and page.filled != page.text:
            path.write_text(page.filled, encoding="utf-8")
            page = Page(page.filled, figures)
        place = path.relative_to(root)
        wrong += [f"{place}:{line}: {text}" for line, text in page.list_differences()]
    for name, draw in PLOTS.items():
        path, drawn = root / name, draw(figures)
        if not check:
            path.write_text(drawn, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != drawn:
            wrong.append(f"{name}: is not drawn from its result")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, report differences")
    parser.add_argument("--root", type=Path, default=REPOSITORY, help="the repository's folder")
    options = parser.parse_args()
    try:
        wrong = fill(options.root, check=options.check)
    except ResultError as error:
        sys.exit(str(error))
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        sys.exit("pages and results differ: `make tables` fills the pages" if options.check else 1)


if __name__ == "__main__":
    main()
