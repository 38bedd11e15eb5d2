"""The hand-written pages agree with the code: the rooms, and every path that they name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgekit.doctor.rules import NEWEST_PYTHON, OLDEST_PYTHON
from edgekit.toml import read_toml
from tests.environments import REPOSITORY
from tests.packaging.floor_plan import read_floor_plan
from tests.packaging.house_words import find_in_text

PAGES = sorted(
    page
    for folder in ("docs", "deploy", "calibration", "benchmarks", "tests", ".")
    for page in (REPOSITORY / folder).glob("*.md" if folder == "." else "**/*.md")
    if not {"api", "cli", "report-example"} & set(page.parts)
)
_TOP = "edgekit|tests|docs|benchmarks|deploy|calibration"
_PATH = re.compile(rf"`((?:{_TOP})/[\w./-]+)`")


def find_missing(text: str) -> list[str]:
    """The paths of the repository that `text` names in backquotes and that do not exist.

    NAME in a path stands for what a reader is to fill in.
    """
    paths = [path for path in _PATH.findall(text) if "NAME" not in path]
    return [path for path in paths if not (REPOSITORY / path).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_named_paths_exist(page: Path) -> None:
    assert find_missing(page.read_text(encoding="utf-8")) == []


def test_a_missing_path_is_found() -> None:
    assert find_missing("`edgekit/bundle.py` and `edgekit/gone.py`") == ["edgekit/gone.py"]


def test_the_architecture_page_has_every_room_in_the_order_of_the_floors() -> None:
    page = (REPOSITORY / "docs/architecture.md").read_text(encoding="utf-8")
    plan = page.partition("## The floor plan")[2].partition("\n## ")[0]
    rooms = re.findall(r"^\| `(\w+)` \|", plan, re.MULTILINE)
    floors = read_floor_plan().floors
    assert sorted(rooms) == sorted(floors)
    assert [floors[room] for room in rooms] == sorted(floors.values())


def test_the_architecture_page_names_records_where_they_are() -> None:
    page = (REPOSITORY / "docs/architecture.md").read_text(encoding="utf-8")
    records = re.findall(r"^\| `(\w+)` \| `(edgekit/[\w/]+\.py)` \|", page, re.MULTILINE)
    assert len(records) > 15
    for name, path in records:
        source = (REPOSITORY / path).read_text(encoding="utf-8")
        assert re.search(rf"^class {name}\b", source, re.MULTILINE), f"{name} in {path}"
        drawn = page.replace(f"`{name}`", "")
        assert re.search(rf"\b{name}\b", drawn) or name in ("StreamSummary", "Manifest"), name
    drawings = "".join(re.findall(r"^```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    arrows = set(re.findall(r"^   │ ([A-Z]\w+)", drawings, re.MULTILINE))
    assert arrows <= {name for name, _ in records}


def test_all_places_name_the_same_pythons() -> None:
    """Boards: what the doctor accepts. Conversion: one version less, for onnxruntime's wheels."""
    oldest, newest = (".".join(map(str, version)) for version in (OLDEST_PYTHON, NEWEST_PYTHON))
    requires = read_toml(REPOSITORY / "pyproject.toml")["project"]["requires-python"]
    assert requires == f">={oldest}"
    boards, workstation = f"{oldest} to {newest}", f"3.11 to {newest}"
    for name in ("README.md", "docs/decisions/dependencies.md"):
        page = " ".join((REPOSITORY / name).read_text(encoding="utf-8").split())
        assert boards in page and workstation in page, name
    assert workstation in (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert "PYTHON ($(PYTHON); 3.11 or newer)" in (REPOSITORY / "Makefile").read_text("utf-8")


REMOTE = REPOSITORY / "edgekit" / "remote"
PROSE_COLUMNS = 100


def list_prose(text: str) -> list[str]:
    """The lines that are neither code, table, comment, quotation of a message nor filled figure."""
    text = re.sub(r"^<!-- table .*?^<!-- end -->$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    return [line for line in text.splitlines() if not line.startswith(("|", "    ", "!["))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_prose_fits_a_hundred_columns_and_has_no_house_words(page: Path) -> None:
    lines = list_prose(page.read_text(encoding="utf-8"))
    assert [line for line in lines if len(line) > PROSE_COLUMNS] == []
    assert list(find_in_text("\n".join(lines))) == []


def test_deployment_graphs_lists_every_rewriting_pass() -> None:
    source = (REPOSITORY / "edgekit/rewrite/pipeline.py").read_text(encoding="utf-8")
    page = (REPOSITORY / "docs/decisions/deployment-graphs.md").read_text(encoding="utf-8")
    table = page.partition("## The passes")[2].partition("**The order")[0]
    named = re.findall(r"^\| ([a-z ]+) \|", table, re.MULTILINE)
    assert set(named) - {"pass"} == set(re.findall(r'Pass\(\s*"([a-z ]+)"', source))


def test_messages_of_boards_are_those_of_the_code() -> None:
    """The table of deploy/README.md quotes them, up to their first number."""
    code = "".join(path.read_text(encoding="utf-8") for path in REMOTE.glob("*.py"))
    code = re.sub(r'"\s+f?"', "", code)
    page = (REPOSITORY / "deploy/README.md").read_text(encoding="utf-8")
    table = page.partition("| it says | means |")[2].partition("\n\n")[0]
    quoted = re.findall(r"^\| ([a-z][^|\d]+)", table, re.MULTILINE)
    assert len(quoted) > 6
    assert [text for text in quoted if text.strip() not in code] == []
