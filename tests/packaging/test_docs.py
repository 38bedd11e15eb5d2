"""The documentation: reference pages that are those of the code, and a site that builds whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.environments import REPOSITORY
from tests.packaging.site_links import find_faults
from tests.report.chromium import CHROMIUM, MISSING, Page

pytestmark = pytest.mark.slow

SPHINX = ["-q", "-n", "-W", "--keep-going", "-c", "docs"]
"""As `make docs` gives them."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built without a warning."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", *SPHINX, "-d", str(folder / "cache")]
    built = subprocess.run(
        [*command, ".", str(folder / "html")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert built.returncode == 0, built.stderr
    assert built.stderr == ""
    return folder / "html"


def test_reference_pages_are_those_of_the_code() -> None:
    """Otherwise: make docs-generate."""
    checked = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert checked.returncode == 0, checked.stderr


def test_make_docs_builds_as_the_test_does() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert f"-m sphinx {' '.join(SPHINX)} " in makefile


def test_every_page_is_in_the_site(site: Path) -> None:
    pages = [
        path.relative_to(REPOSITORY).with_suffix(".html")
        for folder in ("docs", "deploy", "calibration", "benchmarks", "tests", ".")
        for path in (REPOSITORY / folder).glob("*.md" if folder == "." else "**/*.md")
    ]
    assert len(pages) > 30
    assert [page for page in pages if not (site / page).is_file()] == []


def test_links_lead_somewhere_and_resources_are_the_sites_own(site: Path) -> None:
    assert find_faults(site) == []


@pytest.mark.parametrize(
    ("html", "fault"),
    [
        ('<script src="https://cdn.example/x.js"></script>', "asks for https://cdn.example/x.js"),
        ('<link rel="stylesheet" href="//fonts.example/a">', "asks for //fonts.example/a"),
        ('<p style="background: url(http://a.example/b)">', "asks for http://a.example/b"),
        ('<img src="gone.png">', "asks for gone.png, which is not there"),
        ('<a href="gone.html">', "links to gone.html, which is not there"),
        ('<h1 id="here"></h1><a href="#there">', "links to #there, which has no such anchor"),
        ('<a href="https://example.org"><a href="#"><h1 id="a b"></h1><a href="#a%20b">', None),
    ],
)
def test_a_fault_of_a_page_is_found(tmp_path: Path, html: str, fault: str | None) -> None:
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    assert find_faults(tmp_path) == ([f"page.html: {fault}"] if fault else [])


def test_a_style_sheet_that_asks_elsewhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text('@import "https://fonts.example/a.css";', encoding="utf-8")
    assert find_faults(tmp_path) == ["a.css: asks for https://fonts.example/a.css"]


@pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
@pytest.mark.parametrize("name", ["README.html", "docs/README.html", "docs/cli/run.html"])
def test_a_browser_asks_no_other_machine(site: Path, name: str) -> None:
    page = Page(site / name)
    try:
        for view in ("wide", "phone", "dark"):
            page.show(view)
        assert [url for url in page.requests() if not url.startswith(("file:", "data:"))] == []
        assert page.complaints() == []
    finally:
        page.close()
