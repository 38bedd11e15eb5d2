"""The pictures of the docs: what a terminal shows becomes HTML as a terminal shows it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyte")
from docs.screenshots import EXAMPLE, IMAGES, render_terminal, run_in_terminal, save_picture
from edgekit.profile.record import read_report
from edgekit.report.rendering import render
from edgekit.report.write import MARKDOWN_NAME, PAGE_NAME


def test_what_was_erased_is_not_shown() -> None:
    printed = b"loading ...\r\n\033[1A\033[2K\033[32mdone\033[0m \033[1m<b>\033[0m\r\nnext\r\n"
    assert render_terminal(printed) == (
        '<span style="color: #7ee787;">done</span> <span style="font-weight: bold">&lt;b&gt;</span>'
        "\nnext"
    )


def test_a_command_runs_on_a_terminal(tmp_path: Path) -> None:
    code = "import os, sys; print(sys.stdout.isatty(), os.get_terminal_size().columns)"
    assert run_in_terminal(f'{sys.executable} -c "{code}"', tmp_path) == b"True 92\r\n"
    with pytest.raises(SystemExit, match="failed"):
        run_in_terminal("echo why; exit 3", tmp_path)


def test_a_picture_keeps_the_colours_of_small_things(tmp_path: Path) -> None:
    import io

    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(0).integers(90, 160, (200, 200, 1)) + np.array([0, 8, 16])
    pixels = noise.astype(np.uint8)
    pixels[:3, :12] = (21, 128, 61)
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    save_picture(tmp_path / "small.png", png.getvalue())
    kept = Image.open(tmp_path / "small.png").convert("RGB").getpixel((5, 1))
    assert np.abs(np.array(kept) - (21, 128, 61)).max() <= 12


def test_the_example_report_is_of_its_record() -> None:
    rendering = render(read_report(EXAMPLE))
    assert (EXAMPLE / PAGE_NAME).read_text(encoding="utf-8") == rendering.html(), RENEW
    assert (EXAMPLE / MARKDOWN_NAME).read_text(encoding="utf-8") == rendering.markdown(), RENEW


RENEW = "run: python -m docs.screenshots report-pages"


def test_pages_name_every_picture() -> None:
    pages = "".join(page.read_text() for page in (IMAGES.parent).glob("*.md"))
    pages += (IMAGES.parent.parent / "README.md").read_text()
    named = set(re.findall(r"images/([a-z-]+\.png)", pages))
    assert named == {picture.name for picture in IMAGES.glob("*.png")}
