"""Every `edgekit` command in the documentation is one that the command line takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest

from edgekit.cli import COMMANDS
from tests.environments import REPOSITORY

PAGES = sorted(
    path
    for folder in ("docs", "deploy", "calibration", ".")
    for path in (REPOSITORY / folder).glob("*.md" if folder == "." else "**/*.md")
    if path.name != "CHANGELOG.md"
    and "report-example" not in path.parts
    and "cli" not in path.parts
)
"""All but docs/cli, which is what the command line itself says."""
_COMMAND = re.compile(r"(?:^|[\s`/(])edgekit ([a-z]+ .*)")


def documented(text: str) -> Iterator[str]:
    """What stands behind `edgekit` in code blocks and in backquotes, continued lines joined."""
    for block in re.findall(r"^```[a-z]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if match := _COMMAND.search(line.partition("#")[0]):
                yield match[1].strip()
    for span in re.findall(r"`(edgekit [^`]*)`", text):
        yield " ".join(span.split()).removeprefix("edgekit ")


def find_command(words: list[str]) -> tuple[click.Command | None, list[str]]:
    if not words or words[0] not in COMMANDS:
        return None, words
    command: click.Command = import_module(COMMANDS[words[0]]).command
    rest = words[1:]
    while isinstance(command, click.Group) and rest and rest[0] in command.commands:
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


def list_options(command: click.Command) -> set[str]:
    return {option for param in command.params for option in param.opts}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_option_exists(page: Path) -> None:
    wrong = []
    for text in documented(page.read_text(encoding="utf-8")):
        try:
            words = shlex.split(text)
        except ValueError:  # a quotation that is cut by an ellipsis
            continue
        if words[0].startswith("-"):
            continue
        command, rest = find_command(words)
        if command is None:
            wrong.append(f"no command: edgekit {text}")
            continue
        known = {"--help", "-h"} | list_options(command)
        if command.context_settings.get("ignore_unknown_options"):  # handed on to `edgekit run`
            known |= list_options(import_module(COMMANDS["run"]).command)
        options = [word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)]
        wrong += [f"no {option}: edgekit {text}" for option in options if option not in known]
    assert wrong == []


def test_they_are_found() -> None:
    """The test above looks at something."""
    found = [text for page in PAGES for text in documented(page.read_text(encoding="utf-8"))]
    assert len(found) > 60
    assert any(text.startswith("benchmark") and "--host" in text for text in found)
