"""The floor plan of pyproject.toml holds, and the tree shows it: floors, halves, sizes, names."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

from tests.environments import REPOSITORY
from tests.packaging.floor_plan import (
    PACKAGE,
    Import,
    find_faults,
    list_edges,
    list_imports,
    package_modules,
    read_floor_plan,
    room_of,
)

LARGEST_ROOM = 0.12
"""Of the package's lines."""

MEAN_THE_SAME = {"__init__", "base", "pipeline"}
"""Basenames of several modules: `base` is what all modules of its room look like to others,
`pipeline` is the order of its room's steps."""

NATIVE_LIBRARIES = ("cv2", "ai_edge_litert", "tflite_runtime", "torch", "onnx", "onnxruntime")
NEED_A_LIBRARY = {
    "edgekit.outputs.annotated_video",
    "edgekit.outputs.window",
    "edgekit.profile.worker",
    "edgekit.sources.camera",
    "edgekit.sources.image_files",
    "edgekit.sources.network",
    "edgekit.sources.opencv_capture",
    "edgekit.sources.video_file",
}
"""Modules of the device half whose work is one of these libraries."""
LIGHT_MODULES = 0.9


def test_every_room_stands_on_a_floor_and_in_a_half() -> None:
    plan = read_floor_plan()
    rooms = {room_of(module) for module in package_modules()} - {"", "__main__", "_version"}
    assert rooms == set(plan.floors)
    assert not plan.device_half & plan.workbench
    assert plan.device_half | plan.workbench == rooms - {"cli"}


def test_no_file_imports_against_the_floor_plan() -> None:
    assert [fault for path in package_modules().values() for fault in find_faults(path)] == []


def find_loop(edges: Mapping[str, Mapping[str, int]]) -> str | None:
    """The places of an import loop, as `a:3 imports b, b:7 imports a`."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        loop: list[str] = error.args[1]
        return ", ".join(
            f"{importer}:{edges[importer][imported]} imports {imported}"
            for imported, importer in pairwise(loop)
        )
    return None


def test_no_two_files_import_each_other() -> None:
    assert find_loop(list_edges()) is None


def test_a_loop_is_named_with_its_lines() -> None:
    edges = {"top": {"a": 1}, "a": {"b": 3}, "b": {"c": 5}, "c": {"a": 7}}
    loop = find_loop(edges)
    assert loop is not None
    assert set(loop.split(", ")) == {"a:3 imports b", "b:5 imports c", "c:7 imports a"}


@pytest.mark.parametrize(
    ("file", "source", "fault"),
    [
        ("engines/base.py", "import click\nimport torch.nn", "2: imports torch.nn: only the work"),
        ("engines/base.py", "from ..models import family", "1: imports edgekit.models: the device"),
        (
            "engines/base.py",
            "def run():\n    from edgekit import quantize",
            "2: imports edgekit.qu",
        ),
        (
            "engines/base.py",
            "from edgekit.sources import base",
            "1: imports edgekit.sources: sourc",
        ),
        (
            "engines/base.py",
            "from edgekit import runtime",
            "1: imports edgekit.runtime: runtime do",
        ),
        ("engines/base.py", "m = import_module('onnx')", "1: imports onnx: only the workbench use"),
        (
            "sources/base.py",
            "import importlib\nm = importlib.import_module('edgekit.runtime.stream')",
            "2: imports edgekit.runtime.stream: runtime does not stand on a floor below sources",
        ),
        ("files.py", "m = __import__('edgekit.spec')", "1: imports edgekit.spec: spec does not"),
        (
            "files.py",
            "TABLE = {\n'run': 'edgekit.cli.run'}\nm = import_module(TABLE['run'])",
            "2: imports edgekit.cli.run: cli does not stand on a floor below files",
        ),
        (
            "cli/run.py",
            "from edgekit.models import FAMILIES",
            "1: imports edgekit.models: a comm",
        ),
    ],
)
def test_a_forbidden_import_is_named_with_its_line(file: str, source: str, fault: str) -> None:
    found = find_faults(PACKAGE / file, source)
    assert any(text.startswith(f"edgekit/{file}:{fault}") for text in found), found


@pytest.mark.parametrize(
    ("file", "source"),
    [
        (
            "engines/base.py",
            "import numpy\nfrom edgekit import errors\nfrom edgekit.engines import base",
        ),
        ("engines/base.py", "if TYPE_CHECKING:\n    import torch"),
        ("cli/run.py", "def run():\n    from edgekit.models import FAMILIES"),
        ("models/family.py", "import torch"),
        ("__init__.py", "m = import_module('edgekit.bundle')"),
    ],
)
def test_an_allowed_import_is_not_a_fault(file: str, source: str) -> None:
    assert find_faults(PACKAGE / file, source) == []


def test_imports_in_functions_are_known_as_such() -> None:
    source = "import click\nclass A:\n    def run(self):\n        import cv2"
    assert list_imports(PACKAGE / "cli" / "run.py", source) == [
        Import(1, "click", in_function=False),
        Import(4, "cv2", in_function=True),
    ]


def test_no_room_is_too_big() -> None:
    lines: Counter[str] = Counter()
    for module, path in package_modules().items():
        lines[room_of(module)] += len(path.read_text(encoding="utf-8").splitlines())
    room, size = lines.most_common(1)[0]
    share = size / lines.total()
    assert share <= LARGEST_ROOM, f"{room} holds {share:.1%} of the package: split it"


def test_a_basename_means_one_thing() -> None:
    """A command's module bears the name of what it runs, so `cli` may repeat one."""
    names: dict[str, list[str]] = {}
    for path in package_modules().values():
        if room_of(".".join(path.relative_to(REPOSITORY).parts)) != "cli":
            names.setdefault(path.stem, []).append(str(path.relative_to(REPOSITORY)))
    twice = {name: files for name, files in names.items() if len(files) > 1}
    assert {name: files for name, files in twice.items() if name not in MEAN_THE_SAME} == {}
    assert set(twice) == MEAN_THE_SAME


IMPORT_ALL = """
import importlib, json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

ABSENT, modules = json.loads(sys.argv[1]), json.loads(sys.argv[2])
sys.meta_path.insert(0, Absent())
failed = {}
for name in modules:
    try:
        importlib.import_module(name)
    except ImportError as error:
        failed[name] = str(error)
print(json.dumps(failed))
"""


def import_all_without(libraries: tuple[str, ...], modules: list[str]) -> dict[str, str]:
    """Module → its ImportError, for those that do not import where `libraries` are absent."""
    result = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, json.dumps(libraries), json.dumps(modules)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    failed: dict[str, str] = json.loads(result.stdout)
    return failed


def test_the_device_half_imports_where_no_native_library_is() -> None:
    plan = read_floor_plan()
    modules = [
        module
        for module in package_modules()
        if room_of(module) not in plan.workbench and module != "edgekit.__main__"
    ]
    failed = import_all_without(NATIVE_LIBRARIES, modules)
    assert {module: error for module, error in failed.items() if module not in NEED_A_LIBRARY} == {}
    assert set(failed) == NEED_A_LIBRARY, "a module needs no library any more: take it off the list"
    assert len(modules) - len(failed) >= LIGHT_MODULES * len(modules)


def test_absent_libraries_are_seen(tmp_path: Path) -> None:
    failed = import_all_without(("cv2",), ["edgekit.spec", "edgekit.sources.camera"])
    assert list(failed) == ["edgekit.sources.camera"]
    assert "No module named 'cv2'" in failed["edgekit.sources.camera"]
