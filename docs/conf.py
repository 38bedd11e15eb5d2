"""Sphinx's settings for the documentation site: `make docs` builds it from the repository's root.

Markdown pages are read where they are stored, so their links work on GitHub and in the site. The
navigation is what docs/README.md lists: a page that is missing there fails the build.
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
REPOSITORY = DOCS.parent
INDEX = "docs/README"
REFERENCES = ("docs/cli/README", "docs/api/README")
"""Indexes of generated pages, whose own pages are those of their folder."""
HOME = '<!doctype html><meta http-equiv="refresh" content="0; url=docs/README.html">\n'

project = "edgekit"
author = "the edgekit authors"
html_title = "edgekit"
html_theme = "furo"
html_theme_options = {"light_css_variables": {"code-font-size": "var(--font-size--small--2)"}}
highlight_language = "text"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False

extensions = ["myst_parser"]
myst_heading_anchors = 4
source_suffix = {".md": "markdown"}
root_doc = INDEX
include_patterns = [
    "*.md",
    "docs/**.md",
    "deploy/**.md",
    "calibration/*.md",
    "benchmarks/*.md",
    "tests/**.md",
]
exclude_patterns = ["build", "dist", ".venv"]


def add_navigation(_: Sphinx, page: str, content: list[str]) -> None:
    """Append to an index the pages that it links to, as Sphinx's tables of contents."""
    if page == INDEX:
        sections = re.split(r"^## (.*)$", content[0], flags=re.MULTILINE)
        for caption, text in zip(sections[1::2], sections[2::2], strict=True):
            links = re.findall(r"^- \[([^\]]+)\]\((\S+\.md)\)", text, re.MULTILINE)
            content[0] += _write_contents(DOCS, links, f":caption: {caption}\n")
    elif page in REFERENCES:
        names = dict.fromkeys(re.findall(r"\]\(([^/()]+)\.md\)", content[0]))
        links = [("", f"{name}.md") for name in names]
        content[0] += _write_contents((REPOSITORY / page).parent, links)


def _write_contents(folder: Path, links: list[tuple[str, str]], options: str = "") -> str:
    """A hidden table of contents of (title or nothing, address) pairs relative to `folder`."""
    lines = []
    for title, address in links:
        page = "/" + str((folder / address).resolve().relative_to(REPOSITORY))
        lines.append(f"{title} <{page}>" if title else page)
    return "\n```{toctree}\n:hidden:\n" + options + "\n" + "\n".join(lines) + "\n```\n"


def write_home(app: Sphinx, error: Exception | None) -> None:
    """The site's address leads to the index."""
    if error is None and app.builder.format == "html":
        (Path(app.outdir) / "index.html").write_text(HOME, encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", add_navigation)
    app.connect("build-finished", write_home)
