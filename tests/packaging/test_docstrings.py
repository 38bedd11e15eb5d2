"""Docstrings of public functions list arguments and results, and give arrays a shape and type."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.environments import REPOSITORY

PACKAGE = REPOSITORY / "edgekit"
ARRAYS = re.compile(r"\b(BgrFrame|RgbImage|ModelPixels|Logits|Probabilities|NDArray|ndarray)\b")
SHAPE = re.compile(r"`?\([^()`]*\)`? ?`?(u?int8|u?int16|int32|int64|float16|float32|float64)")
NOTHING = ("None", "NoReturn", "Iterator[None]")
CLICK_CONVERT = "FiniteRange.convert"
"""Click documents what it calls."""


class Function(NamedTuple):
    """A public function, or a method of a public class with the class's docstring."""

    place: str
    name: str
    node: ast.FunctionDef
    owner: ast.ClassDef | None

    @property
    def docstring(self) -> str:
        own = ast.get_docstring(self.node) or ""
        return own + (ast.get_docstring(self.owner) or "" if self.owner is not None else "")

    @property
    def arguments(self) -> list[ast.arg]:
        given = self.node.args
        listed = [*given.posonlyargs, *given.args, *given.kwonlyargs]
        return [argument for argument in listed if argument.arg not in ("self", "cls")]

    @property
    def result(self) -> str:
        return ast.unparse(self.node.returns) if self.node.returns is not None else "None"


def list_functions(path: Path) -> Iterator[Function]:
    """The public functions of a file, without click's commands and overloads."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        owner = node if isinstance(node, ast.ClassDef) else None
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        if getattr(node, "name", "_").startswith("_"):
            continue
        for child in inner:
            if not isinstance(child, ast.FunctionDef):
                continue
            decorators = " ".join(ast.unparse(decorator) for decorator in child.decorator_list)
            if "click" in decorators or "overload" in decorators:
                continue
            if child.name.startswith("_") and child.name != "__init__":
                continue
            name = f"{owner.name}.{child.name}" if owner is not None else child.name
            place = f"{path.relative_to(REPOSITORY)}:{child.lineno} {name}"
            yield Function(place, name, child, owner)


FUNCTIONS = [
    function for path in sorted(PACKAGE.rglob("*.py")) for function in list_functions(path)
]
CONTRACTS = {
    function.node.name
    for function in FUNCTIONS
    if function.owner is not None
    and function.node.name != "__init__"
    and "Args:" in (ast.get_docstring(function.node) or "")
}
"""Methods that some class documents: those of its other implementations need not say it again."""


def lacks_sections(function: Function) -> list[str]:
    """The sections that a function of three or more parameters should have and has not."""
    is_implementation = function.owner is not None and function.node.name in CONTRACTS
    if len(function.arguments) < 3 or is_implementation or function.name == CLICK_CONVERT:
        return []
    text = function.docstring
    lacking = [] if "Args:" in text or "Attributes:" in text else ["Args"]
    returns = "Returns:" in text or "Yields:" in text
    return lacking if returns or function.result in NOTHING else [*lacking, "Returns"]


def lacks_shape(function: Function) -> bool:
    """Whether a function of arrays says nothing of their shape and type."""
    annotations = [function.result, *(ast.unparse(a) for a in function.arguments)]
    is_implementation = function.owner is not None and function.node.name in CONTRACTS
    takes_arrays = any(ARRAYS.search(text) for text in annotations)
    return takes_arrays and not is_implementation and not SHAPE.search(function.docstring)


def test_functions_of_three_or_more_parameters_list_them() -> None:
    lacking = {function.place: lacks_sections(function) for function in FUNCTIONS}
    assert {place: sections for place, sections in lacking.items() if sections} == {}


def test_functions_of_arrays_give_shape_and_type() -> None:
    assert [function.place for function in FUNCTIONS if lacks_shape(function)] == []


@pytest.mark.parametrize(
    ("source", "sections", "shape"),
    [
        ("def f(a: int, b: int, c: int) -> int:\n    'Add.'", ["Args", "Returns"], False),
        ("def f(a: int, b: int, c: int) -> None:\n    'Args: a.'", [], False),
        ("def f(image: RgbImage) -> int:\n    'Count.'", [], True),
        ("def f(image: RgbImage) -> int:\n    'Of `(H, W, 3) uint8` RGB.'", [], False),
    ],
)
def test_the_rules_see_what_is_missing(
    tmp_path: Path, source: str, sections: list[str], shape: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.packaging.test_docstrings.REPOSITORY", tmp_path)
    (tmp_path / "one.py").write_text(source)
    (function,) = list_functions(tmp_path / "one.py")
    assert lacks_sections(function) == sections
    assert lacks_shape(function) is shape
