"""edgekit's calls exist in every release in which it makes them."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.environments import REPOSITORY
from tests.tensorrt_api.bindings import RELEASES, TensorRTApi
from tests.tensorrt_api.required_api import ALL, REQUIRED, RequiredMember


def _is_missing(required: RequiredMember, api: TensorRTApi) -> bool:
    if required.needed_in != ALL and api.version not in required.needed_in:
        return False
    if not api.has_class(required.class_name):
        return True
    return required.member not in api.members(required.class_name)


def test_release_has_every_required_member(tensorrt_api: TensorRTApi) -> None:
    missing = [str(required) for required in REQUIRED if _is_missing(required, tensorrt_api)]
    assert not missing, f"TensorRT {tensorrt_api.version} lacks {', '.join(missing)}"


def test_a_missing_member_and_a_missing_class_are_named() -> None:
    api = TensorRTApi("9", "tensorrt", {"Builder": {"reset": ""}}, {}, Path())
    rows = [
        RequiredMember("Builder", "reset", ALL),
        RequiredMember("Builder", "build", ALL),
        RequiredMember("Runtime", "reset", frozenset({"9"})),
        RequiredMember("Runtime", "load", frozenset({"8"})),
    ]
    assert [str(row) for row in rows if _is_missing(row, api)] == ["Builder.build", "Runtime.reset"]


def test_rows_name_known_releases_and_no_member_twice() -> None:
    releases = {release.name for release in RELEASES}
    for required in REQUIRED:
        if required.needed_in != ALL:
            assert required.needed_in <= releases, f"{required} is needed in an unknown release"
    assert len({str(required) for required in REQUIRED}) == len(REQUIRED)


RUNTIME = REPOSITORY / "edgekit" / "engines" / "tensorrt"
OBJECTS = (
    *("trt", "module", "builder", "network", "parser", "config", "error", "remembered", "flags"),
    *("engine", "context", "severity", "_engine", "_context", "_runtime"),
)
"""What edgekit's code calls TensorRT's objects."""
OURS = {"__members__", "__name__", "lower", "name"}


def _names_used() -> set[str]:
    """Attributes that edgekit's TensorRT code takes of TensorRT's objects, and of their classes."""
    names = set()
    for path in (RUNTIME / "build.py", RUNTIME / "build_log.py", RUNTIME / "library.py",
                 RUNTIME / "engine.py"):  # fmt: skip
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Attribute):
                continue
            owner = node.value
            while isinstance(owner, ast.Attribute) and owner.attr not in OBJECTS:
                owner = owner.value
            name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
            if name in OBJECTS:
                names.add(node.attr)
    return names - {"_engine", "_context", "_runtime", "errno", "strerror"}


def test_the_table_names_all_that_the_code_uses() -> None:
    known = {row.member for row in REQUIRED} | {row.class_name for row in REQUIRED}
    known |= {part for row in REQUIRED for part in row.class_name.split(".")}
    used = _names_used()
    assert {"execute_async_v3", "IProgressMonitor", "set_memory_pool_limit"} <= used
    assert used - known - OURS == set()
