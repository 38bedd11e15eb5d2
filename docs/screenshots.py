"""Renew the pictures of pages and terminal in docs/images, and docs/report-example, from real runs.

    python -m docs.screenshots                 # make screenshots: all of them, about 2 minutes
    python -m docs.screenshots report-pages    # the example's pages, from its record: seconds

edgekit runs on the built-in demo; its pages are opened in headless Chromium, and so is what its
commands print, as a terminal shows it. PNG files with few colours come out. The example report is
replaced only by a trusted one, so the machine must do nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import pty
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.report.chromium import CHROMIUM, MISSING, Page

REPOSITORY = Path(__file__).resolve().parent.parent
IMAGES = REPOSITORY / "docs/images"
EXAMPLE = REPOSITORY / "docs/report-example"
FILM = "calibration/demo/digits.mp4"
TERMINAL_COMMANDS = (
    "edgekit convert --target pi -o my.edgekit",
    "edgekit evaluate my.edgekit --images calibration/demo/test",
    f"edgekit run my.edgekit --source {FILM} --on-change --frames 100",
)
PAGE_COMMAND = f"run --source {FILM} --policy latest --serve 8097 --output results.jsonl"
PAGE_URL = "http://127.0.0.1:8097/"
PAGE_AFTER_S = 17.0
"""The page is photographed after so many of the film's 24 seconds."""
PAGE_ANSWERS = {"wide": "5", "dark": "8", "phone": "3"}
"""Each view is photographed when the film shows this digit."""
REPORT_COMMAND = "benchmark calibration/demo/digits-pi.edgekit --images calibration/demo/test"
PARTS, PAGES_ALONE = ("terminal", "page", "report"), "report-pages"
COLUMNS, LINES = 92, 400
CSS_COLOURS = {"green": "#7ee787", "red": "#ff7b72", "brown": "#e3b341", "blue": "#79c0ff"}
TERMINAL_PAGE = """<!doctype html>
<meta charset="utf-8">
<title>terminal</title>
<style>
  body {{ margin: 0; background: #fff; }}
  pre {{ margin: 0; padding: 18px 22px; border-radius: 10px; background: #10141b; color: #d6dce5;
    font: 15px/1.4 "DejaVu Sans Mono", monospace; width: max-content; }}
</style>
<pre>{}</pre>
"""


def write_pictures(wanted: Sequence[str], images: Path, folder: Path) -> None:
    """Write pictures to `images`. In `folder` the commands run, in a copy of the tree."""
    for part in ("edgekit", "calibration"):
        shutil.copytree(REPOSITORY / part, folder / part)
    if "terminal" in wanted:
        photograph_terminal(images, folder)
    if "page" in wanted:
        photograph_page(images, folder)
    if "report" in wanted:
        renew_report(EXAMPLE, folder)
    if PAGES_ALONE in wanted:
        renew_pages(EXAMPLE)
    if {"report", PAGES_ALONE} & set(wanted):
        photograph_report(images)


def photograph_terminal(images: Path, folder: Path) -> None:
    """terminal.png: what the commands print on a terminal."""
    printed = b""
    for command in TERMINAL_COMMANDS:
        step(command)
        printed += (
            f"\033[32;1m$ {command}\033[0m\r\n".encode()
            + run_in_terminal(command, folder)
            + b"\r\n"
        )
    page_path = folder / "terminal.html"
    page_path.write_text(TERMINAL_PAGE.format(render_terminal(printed)), encoding="utf-8")
    with Page(page_path) as page:
        width, height = page.evaluate(
            "(pre => [pre.offsetWidth, pre.offsetHeight])(document.querySelector('pre'))"
        )
        page.resize(width, height, scale=1.25)
        save_picture(images / "terminal.png", page.photograph())


def run_in_terminal(command: str, folder: Path) -> bytes:
    """The bytes that a shell command prints on a terminal. Raises SystemExit when it fails."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    process = subprocess.Popen(
        ["bash", "-c", command],
        cwd=folder,
        env=make_environment(folder),
        stdin=its,
        stdout=its,
        stderr=its,
    )
    os.close(its)
    printed = b""
    while part := read_terminal(ours):
        printed += part
    os.close(ours)
    if process.wait():
        raise SystemExit(f"{command} failed:\n{printed.decode()}")
    return printed


def read_terminal(descriptor: int) -> bytes:
    """What is printed next; nothing after the end."""
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # EIO: nobody holds the terminal's other side any more
        return b""


def make_environment(folder: Path) -> dict[str, str]:
    """The environment of the commands: the edgekit in `folder`, a terminal with colours."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    settings = {"PATH": path, "PYTHONPATH": str(folder), "TERM": "xterm-256color"}
    kept = {
        name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")
    }
    return {**kept, **settings}


def render_terminal(printed: bytes) -> str:
    """The HTML of the screen after `printed`, with its colours and bold letters."""
    import pyte

    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    stream.feed(printed)
    lines = [render_line([screen.buffer[y][x] for x in range(COLUMNS)]) for y in range(LINES)]
    return "\n".join(lines).rstrip()


def render_line(cells: list[Any]) -> str:
    """One line of the screen as HTML; `cells` are pyte's characters."""
    parts = []
    for (colour, bold), group in groupby(cells, lambda cell: (cell.fg, cell.bold)):
        text = escape("".join(cell.data for cell in group))
        style = f"color: {CSS_COLOURS[colour]};" if colour in CSS_COLOURS else ""
        style += "font-weight: bold" if bold else ""
        parts.append(f'<span style="{style}">{text}</span>' if style and text.strip() else text)
    return "".join(parts).rstrip()


def photograph_page(images: Path, folder: Path) -> None:
    """page-*.png: the page of `edgekit run --serve`."""
    step(f"edgekit {PAGE_COMMAND}")
    command = [sys.executable, "-m", "edgekit", *PAGE_COMMAND.split()]
    environment = make_environment(folder)
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=quiet, stderr=quiet) as run:
        time.sleep(3)
        with Page(PAGE_URL) as page:
            time.sleep(PAGE_AFTER_S - 3)
            pictures = {}
            for view, digit in PAGE_ANSWERS.items():
                page.show(view)
                wait_for_answer(page, digit)
                pictures[view] = page.photograph()
            for view, png in pictures.items():
                save_picture(images / f"page-{view}.png", png)
        run.terminate()


def wait_for_answer(page: Page, label: str) -> None:
    """Return when the page shows this answer for a third of a second. Raises SystemExit when it
    does not come."""
    shown = "document.getElementById('answer').textContent"
    seen, until_s = 0, time.monotonic() + 15
    while seen < 4:
        seen = seen + 1 if page.evaluate(shown) == label else 0
        time.sleep(0.1)
        if time.monotonic() > until_s:
            raise SystemExit(f"edgekit {PAGE_COMMAND}: the page never shows {label}")


def renew_report(example: Path, folder: Path) -> None:
    """Measure the demo and replace the example. Raises SystemExit when it is not trusted."""
    from edgekit.profile.record import read_report
    from edgekit.report.write import write_report

    step(f"edgekit {REPORT_COMMAND}")
    command = [
        sys.executable,
        "-m",
        "edgekit",
        *REPORT_COMMAND.split(),
        "-o",
        str(folder / "report"),
    ]
    subprocess.run(
        command, cwd=folder, env=make_environment(folder), stdout=subprocess.DEVNULL, check=True
    )
    report = read_report(folder / "report")
    if not report.trusted:
        reasons = "\n".join(f"- {reason}" for reason in report.reasons)
        raise SystemExit(
            f"the report is not trusted, so the example stays as it is:\n{reasons}\nRun this again"
            " on a machine that does nothing else, or renew its pages alone: report-pages"
        )
    write_report(report, example)


def renew_pages(example: Path) -> None:
    """Write the example's pages again from its record, which stays as it was measured."""
    from edgekit.profile.record import read_report
    from edgekit.report.rendering import render
    from edgekit.report.write import MARKDOWN_NAME, PAGE_NAME

    step(f"the pages of {example.relative_to(REPOSITORY)}")
    rendering = render(read_report(example))
    (example / PAGE_NAME).write_text(rendering.html(), encoding="utf-8")
    (example / MARKDOWN_NAME).write_text(rendering.markdown(), encoding="utf-8")


def photograph_report(images: Path) -> None:
    """report.png and report-*.png: the example's page."""
    with Page(EXAMPLE / "report.html") as page:
        for view in ("wide", "phone", "dark", "print"):
            page.show(view)
            save_picture(images / f"report-{view}.png", page.photograph(1600))
        page.show("wide")
        save_picture(images / "report.png", page.photograph(1160))


def save_picture(path: Path, png: bytes) -> None:
    """Write a screenshot with 256 colours, which is a third of its size."""
    from PIL import Image

    colours = Image.open(io.BytesIO(png)).convert("RGB")
    # The other methods lose the colours of small letters and lines.
    picture = colours.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    picture.save(path, optimize=True)
    step(f"  {path.name}, {path.stat().st_size / 1e3:.0f} kB")


def step(text: str) -> None:
    """Tell what is done now."""
    sys.stderr.write(f"{text}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("wanted", nargs="*", metavar="PART", help=", ".join((*PARTS, PAGES_ALONE)))
    arguments = parser.parse_args()
    wanted = arguments.wanted or PARTS
    if unknown := set(wanted) - {*PARTS, PAGES_ALONE}:
        parser.error(f"{', '.join(unknown)}: expected {', '.join((*PARTS, PAGES_ALONE))}")
    if CHROMIUM is None:
        raise SystemExit(MISSING.replace("this test", "this"))
    with tempfile.TemporaryDirectory() as name:
        write_pictures(wanted, IMAGES, Path(name))


if __name__ == "__main__":
    main()
