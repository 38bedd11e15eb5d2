"""The device half never imports the workbench, and nothing heavy loads before it is used."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.cli import COMMANDS
from tests.environments import REPOSITORY
from tests.packaging.conftest import Installation

PACKAGE = REPOSITORY / "edgekit"
WORKBENCH = ("models", "checkpoint", "quantize", "rewrite", "targets", "conversion")
WORKBENCH_LIBRARIES = {
    "ai_edge_quantizer",
    "jax",
    "litert_torch",
    "onnx",
    "onnx_ir",
    "onnxscript",
    "safetensors",
    "sklearn",
    "torch",
    "torchao",
    "torchvision",
}
HEAVY = WORKBENCH_LIBRARIES | {"ai_edge_litert", "cv2", "numpy", "onnxruntime", "rich"}

DEVICE_FILES = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    if path.relative_to(PACKAGE).with_suffix("").parts[0] not in (*WORKBENCH, "_data")
)


def imported_modules(
    node: ast.AST, package: str, *, inside_functions: bool = True
) -> Iterator[tuple[int, str]]:
    """(line, module) of every import below `node` that runs, `if TYPE_CHECKING` left out.

    `from edgekit import models` counts as both `edgekit` and `edgekit.models`.
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((child.lineno, alias.name) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - child.level + 1]
            base = ".".join([*(parents if child.level else []), *filter(None, [child.module])])
            yield child.lineno, base
            yield from ((child.lineno, f"{base}.{alias.name}") for alias in child.names)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for branch in child.orelse:
                yield from imported_modules(branch, package, inside_functions=inside_functions)
        elif inside_functions or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from imported_modules(child, package, inside_functions=inside_functions)


def is_below(module: str, names: set[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


@pytest.mark.parametrize("path", DEVICE_FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_device_half_imports_no_workbench(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = ".".join(path.relative_to(REPOSITORY).parent.parts)
    workbench = {f"edgekit.{name}" for name in WORKBENCH}
    # A command may call the workbench, but loads it only when it runs.
    everywhere = path.parent.name != "cli"
    wrong = [
        f"line {line}: {module}"
        for line, module in imported_modules(tree, package)
        if is_below(module, WORKBENCH_LIBRARIES)
    ] + [
        f"line {line}: {module}"
        for line, module in imported_modules(tree, package, inside_functions=everywhere)
        if is_below(module, workbench)
    ]
    assert wrong == []


def test_the_rule_sees_every_kind_of_import() -> None:
    source = """
import torch.nn
from . import models
from ..targets import tflite
if TYPE_CHECKING:
    import onnx
def late():
    from edgekit import quantize
"""
    tree = ast.parse(source)
    seen = {module for _, module in imported_modules(tree, "edgekit.cli")}
    assert {"torch.nn", "edgekit.cli.models", "edgekit.targets.tflite", "edgekit.quantize"} <= seen
    assert "onnx" not in seen
    early = {module for _, module in imported_modules(tree, "edgekit.cli", inside_functions=False)}
    assert "edgekit.quantize" not in early


def loaded_modules(installation: Installation, *args: str) -> set[str]:
    """The top-level modules that `python -X importtime ARGS` loads."""
    report = installation.run("-X", "importtime", *args).stderr
    lines = [line for line in report.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def test_bare_installation_lacks_the_extras(bare_installation: Installation) -> None:
    program = "import importlib.util as u; print([n for n in ('torch', 'cv2') if u.find_spec(n)])"
    assert bare_installation.run("-c", program).stdout.strip() == "[]"


def test_import_edgekit_is_light(bare_installation: Installation) -> None:
    loaded = loaded_modules(bare_installation, "-c", "import edgekit")
    assert "edgekit" in loaded
    assert not loaded & HEAVY


def test_help_is_light(bare_installation: Installation) -> None:
    loaded = loaded_modules(bare_installation, "-m", "edgekit", "--help")
    assert "click" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(bare_installation: Installation, command: str) -> None:
    result = bare_installation.run("-m", "edgekit", command, "--help")
    assert f"edgekit {command}" in result.stdout
    loaded = loaded_modules(bare_installation, "-m", "edgekit", command, "--help")
    assert not loaded & HEAVY


def test_shipped_data_is_found(bare_installation: Installation) -> None:
    program = "from edgekit.resources import resource; print(resource('calibration/README.md'))"
    found = bare_installation.run("-c", program).stdout.strip()
    assert found.endswith("edgekit/_data/calibration/README.md")
