"""The floor plan of pyproject.toml and the imports of the package's files, as one can compare them.

`lint-imports` holds the plan too, but sees import statements only. What comes in here is a file's
source; what goes out is each of its imports with its line, those by a function (`import_module`)
included, and one text `file:line: …` for each that the plan forbids.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from edgekit.toml import read_toml
from tests.environments import REPOSITORY

PACKAGE = REPOSITORY / "edgekit"
_IMPORTERS = {"import_module", "__import__"}


class Import(NamedTuple):
    """One import of a file."""

    line: int
    module: str
    """`from edgekit import models` is both `edgekit` and `edgekit.models`."""
    in_function: bool


class FloorPlan(NamedTuple):
    """What `[tool.importlinter]` declares."""

    floors: Mapping[str, int]
    """Room → its floor, 0 at the top. Rooms of one floor do not know each other."""
    device_half: frozenset[str]
    """Rooms of the device half; `cli` stands in neither half."""
    workbench: frozenset[str]
    workbench_libraries: frozenset[str]
    allowed: frozenset[tuple[str, str]]
    """(module, library) pairs that are excepted by name."""


@cache
def read_floor_plan() -> FloorPlan:
    contracts = {
        contract["id"]: contract
        for contract in read_toml(REPOSITORY / "pyproject.toml")["tool"]["importlinter"][
            "contracts"
        ]
    }
    floors, halves = contracts["floors"], contracts["halves"]
    forbidden = halves["forbidden_modules"]
    return FloorPlan(
        floors={
            room.strip(): number
            for number, layer in enumerate(floors["layers"])
            for room in layer.split("|")
        },
        device_half=frozenset(map(room_of, halves["source_modules"])),
        workbench=frozenset(room_of(name) for name in forbidden if is_below(name, "edgekit")),
        workbench_libraries=frozenset(name for name in forbidden if not is_below(name, "edgekit")),
        allowed=frozenset(
            (importer, imported)
            for rule in halves.get("ignore_imports", [])
            for importer, imported in [rule.split(" -> ")]
        ),
    )


@cache
def package_modules() -> dict[str, Path]:
    """Module name → its file, for the whole package."""
    return {name_module(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def name_module(path: Path) -> str:
    """`edgekit.engines.base` of `edgekit/engines/base.py`, `edgekit.engines` of its `__init__`."""
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """`engines` of `edgekit.engines.base`; empty for `edgekit` itself."""
    return module.partition(".")[2].partition(".")[0]


def is_below(module: str, top: str) -> bool:
    return module == top or module.startswith(f"{top}.")


def list_imports(path: Path, source: str | None = None) -> list[Import]:
    """Every import of a file that runs: `if TYPE_CHECKING` is left out, functions are not.

    A file that imports by a function also imports each module of edgekit that it names in a string,
    as a table of modules does.
    """
    tree = ast.parse(path.read_text(encoding="utf-8") if source is None else source)
    package = ".".join(path.relative_to(REPOSITORY).parent.parts)
    imports = list(_statements(tree, package, in_function=False))
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in _IMPORTERS
    ]
    named: list[ast.AST] = [argument for call in calls for argument in call.args[:1]]
    if calls:
        named += [node for node in ast.walk(tree) if _names_module(node)]
    imports += [
        Import(node.lineno, node.value, in_function=True)
        for node in named
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return sorted(set(imports))


def _names_module(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value in package_modules()
        and node.value != "edgekit"
    )


def _statements(node: ast.AST, package: str, *, in_function: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(child.lineno, alias.name, in_function) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - child.level + 1]
            base = ".".join([*(parents if child.level else []), *filter(None, [child.module])])
            yield Import(child.lineno, base, in_function)
            for alias in child.names:
                yield Import(child.lineno, f"{base}.{alias.name}", in_function)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for branch in child.orelse:
                yield from _statements(branch, package, in_function=in_function)
        else:
            is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from _statements(child, package, in_function=in_function or is_function)


def find_faults(path: Path, source: str | None = None) -> list[str]:
    """One text `edgekit/file.py:line: …` for each import that the plan forbids."""
    importer = name_module(path)
    found = [
        (entry.line, entry.module, reason)
        for entry in list_imports(path, source)
        if (reason := _find_fault(importer, entry))
    ]
    return [
        f"{path.relative_to(REPOSITORY)}:{line}: imports {module}: {reason}"
        for line, module, reason in found
    ]


def _find_fault(importer: str, entry: Import) -> str | None:
    plan = read_floor_plan()
    room, imported = room_of(importer), room_of(entry.module)
    library = entry.module.partition(".")[0]
    if room not in plan.floors:
        return None  # the front door, `__main__` and the version
    if library in plan.workbench_libraries:
        if room in plan.workbench or (importer, library) in plan.allowed:
            return None
        return "only the workbench uses this library"
    if library != "edgekit" or imported not in plan.floors or imported == room:
        return None
    if plan.floors[imported] <= plan.floors[room]:
        return f"{imported} does not stand on a floor below {room}"
    if imported in plan.workbench and room in plan.device_half:
        return "the device half does not import the workbench"
    if imported in plan.workbench and room == "cli" and not entry.in_function:
        return "a command loads the workbench when it runs, inside a function"
    return None


def list_edges() -> dict[str, dict[str, int]]:
    """Module → the modules of the package that its file imports → the first line that does."""
    modules = package_modules()
    edges: dict[str, dict[str, int]] = {}
    for importer, path in modules.items():
        lines: dict[str, int] = {}
        for entry in list_imports(path):
            if entry.module in modules and entry.module != importer:
                lines.setdefault(entry.module, entry.line)
        # `from edgekit.engines import base` is an import of the module, not of its package.
        edges[importer] = {
            module: line
            for module, line in lines.items()
            if not any(
                other != module and is_below(other, module) and lines[other] == line
                for other in lines
            )
        }
    return edges
