"""Describes an exception of a network's own code, by its text and the line of that code."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.fx import GraphModule

_OURS = (Path(__file__).parents[1], Path(torch.__file__).parent)
"""The folders whose lines say nothing about a user's network."""


def describe_failure(error: BaseException) -> str:
    """Describe an exception in one line: `ValueError: 4 channels wanted (nets.py, line 12)`.

    The line is the innermost one that is neither PyTorch's nor edgekit's. It is left out where
    there is none, as in a network of PyTorch's own layers.
    """
    kind = type(error).__name__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = f"{kind}: {lines[0]}" if lines else kind
    place = find_place(error)
    return f"{text} ({place})" if place else text


def find_place(error: BaseException) -> str | None:
    """Find the line of a user's code that raised an exception, as `nets.py, line 12`.

    None where their code was not reached.
    """
    return next(_find_places(error), None)


def _find_places(error: BaseException) -> Iterator[str]:
    """Find the places in a user's code, of the exception itself and then of its causes."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, SyntaxError) and seen.filename:
            yield _name_place(seen.filename, seen.lineno)
        for frame in reversed(traceback.extract_tb(seen.__traceback__)):
            if _is_users(frame.filename):
                yield _name_place(frame.filename, frame.lineno)
        seen = seen.__cause__ or seen.__context__


def _is_users(filename: str) -> bool:
    path = Path(filename)
    if not path.is_file():  # generated or frozen code
        return False
    return not any(path.is_relative_to(folder) for folder in _OURS) and not _is_standard(path)


def _is_standard(path: Path) -> bool:
    """Whether this is a file of Python's own library."""
    library = Path(traceback.__file__).parent
    return path.is_relative_to(library) and "site-packages" not in path.parts


def _name_place(filename: str, line: int | None) -> str:
    path, here = Path(filename), Path.cwd()
    shown = path.relative_to(here) if path.is_relative_to(here) else path
    return f"{shown}, line {line}"


def find_operator(program: GraphModule, message: str) -> str | None:
    """Find the operator that a converter's message names, and the user's line that calls it.

    Args:
        program: The program that could not be converted.
        message: What the converter printed.

    Returns:
        `aten.fft_rfft2 (nets.py, line 12)`, without the line where it is not known; None for a
        message that names no operator.
    """
    names = re.findall(r"aten(?:\.|::)(\w+)", message)
    for node in reversed(program.graph.nodes):
        if getattr(node.target, "_opname", None) in names:
            place = next(_find_calls(node.meta.get("stack_trace") or ""), None)
            operator = f"aten.{node.target._opname}"
            return f"{operator} ({place})" if place else operator
    return f"aten.{names[-1]}" if names else None


def _find_calls(stack: str) -> Iterator[str]:
    """Find the places in a user's code in a stack trace as text, the innermost first."""
    for filename, line in reversed(re.findall(r'File "([^"]+)", line (\d+)', stack)):
        if _is_users(filename):
            yield _name_place(filename, int(line))
