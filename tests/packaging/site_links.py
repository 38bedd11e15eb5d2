"""The links and the resources of a built site, read from its HTML and CSS.

A folder of built pages comes in; one line `page: what is wrong` goes out for each link that leads
nowhere and each resource that a browser would ask another machine for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_RESOURCES = {
    ("audio", "src"),
    ("embed", "src"),
    ("form", "action"),
    ("iframe", "src"),
    ("img", "src"),
    ("img", "srcset"),
    ("input", "src"),
    ("link", "href"),
    ("object", "data"),
    ("script", "src"),
    ("source", "src"),
    ("source", "srcset"),
    ("video", "poster"),
    ("video", "src"),
}
"""(element, attribute) pairs that a browser follows by itself."""
_CSS_ADDRESS = re.compile(r"""(?:url\(\s*|@import\s+)["']?([^"')\s;]+)""")


class Page(HTMLParser):
    """The addresses and the anchors of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.resources: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if not value:
                continue
            if name == "id":
                self.anchors.add(value)
            elif (tag, name) == ("a", "href"):
                self.links.append(value)
            elif (tag, name) in _RESOURCES:
                self.resources.append(value)
            elif name == "style":
                self.resources += _CSS_ADDRESS.findall(value)


def find_faults(site: Path) -> list[str]:
    """Every link that leads nowhere and every resource from elsewhere, as `page: what is wrong`."""
    return sorted(
        [
            f"{path.relative_to(site)}: {fault}"
            for path in site.rglob("*.html")
            for fault in _page_faults(path)
        ]
        + [
            f"{path.relative_to(site)}: asks for {address}"
            for path in site.rglob("*.css")
            for address in _CSS_ADDRESS.findall(path.read_text(encoding="utf-8"))
            if _is_elsewhere(address)
        ]
    )


def _page_faults(path: Path) -> Iterator[str]:
    page = _read(path)
    for address in page.resources:
        if _is_elsewhere(address):
            yield f"asks for {address}"
        elif not address.startswith("data:") and not _find_file(path, address).is_file():
            yield f"asks for {address}, which is not there"
    for address in page.links:
        if not urlsplit(address).scheme and (fault := _link_fault(path, address)):
            yield fault


def _is_elsewhere(address: str) -> bool:
    return address.startswith("//") or urlsplit(address).scheme not in ("", "data")


def _find_file(page: Path, address: str) -> Path:
    name = unquote(urlsplit(address).path)
    return page.parent / name if name else page


def _link_fault(page: Path, address: str) -> str | None:
    target = _find_file(page, address)
    anchor = unquote(urlsplit(address).fragment)
    if not target.is_file():
        return f"links to {address}, which is not there"
    if anchor and target.suffix == ".html" and anchor not in _read(target).anchors:
        return f"links to {address}, which has no such anchor"
    return None


@cache
def _read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))
