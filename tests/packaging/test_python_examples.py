"""The examples of docs/python.md run as they stand, in a folder like a clone's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import edgekit
from tests.environments import REPOSITORY

PAGE = REPOSITORY / "docs" / "python.md"


class Example(NamedTuple):
    """A block of Python, below its heading, and the output that the page shows after it."""

    heading: str
    code: str
    output: str | None


def read_examples() -> list[Example]:
    """The examples of the page, in order."""
    blocks = re.compile(
        r"^## (?P<heading>[^\n]*)$"
        r"|^```python\n(?P<code>.*?)^```(?:\n\n```text\n(?P<output>.*?)^```)?",
        re.MULTILINE | re.DOTALL,
    )
    heading, examples = "import", []
    for match in blocks.finditer(PAGE.read_text(encoding="utf-8")):
        heading = match["heading"] or heading
        if match["code"]:
            examples.append(Example(heading, match["code"], match["output"]))
    return examples


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(
            example,
            id=example.heading,
            marks=[pytest.mark.conversion] if "edgekit.convert(" in example.code else [],
        )
        for example in read_examples()
    ],
)
def test_example_runs_and_prints_what_the_page_shows(example: Example, tmp_path: Path) -> None:
    (tmp_path / "calibration").symlink_to(REPOSITORY / "calibration")
    done = subprocess.run(
        [sys.executable, "-c", example.code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (example.output or "")


def test_every_name_of_the_front_door_has_an_example() -> None:
    code = "".join(example.code for example in read_examples())
    prose = PAGE.read_text(encoding="utf-8")
    public = [name for name in edgekit.__all__ if name != "__version__"]
    functions = [name for name in public if name[0].islower()]
    assert [name for name in functions if f"edgekit.{name}(" not in code] == []
    assert [name for name in public if name not in prose] == []
