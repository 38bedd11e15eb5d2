"""Print as JSON what a TensorRT module offers: `list_api.py MODULE`, in a process of its own.

`{"classes": {class: {member: signature}}, "enums": {class: [member]}}`. The module itself is listed
as the class `tensorrt`. Uses nothing but the standard library, as it runs without site-packages.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterator, Mapping
from types import ModuleType


def list_api(module: ModuleType) -> dict[str, Mapping[str, object]]:
    """Classes with their members, nested classes among them, and enums."""
    public = {name: value for name, value in vars(module).items() if _is_public(name, value)}
    classes = dict(_walk_classes(public))
    listed = {name: _list_members(found, module.__name__) for name, found in classes.items()}
    listed["tensorrt"] = {
        name: _read_signature(name, value, module.__name__) for name, value in public.items()
    }
    enums = {
        name: list(found.__members__)
        for name, found in classes.items()
        if hasattr(found, "__members__")
    }
    return {"classes": listed, "enums": enums}


def _is_public(name: str, value: object) -> bool:
    if isinstance(value, ModuleType):
        return False
    return name == "__version__" or not name.startswith("_")


def _walk_classes(owner: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, type]]:
    for name, value in owner.items():
        if isinstance(value, type) and not name.startswith("_"):
            yield prefix + name, value
            yield from _walk_classes(vars(value), f"{prefix}{name}.")


def _list_members(owner: type, module: str) -> dict[str, str]:
    own = {name for name in dir(owner) if not hasattr(object, name) and "pybind11" not in name}
    return {
        name: _read_signature(name, inspect.getattr_static(owner, name), module)
        for name in sorted(own | {"__init__"})
    }


def _read_signature(name: str, member: object, module: str) -> str:
    """The signatures with which pybind11 begins a docstring, without the module's name."""
    if inspect.isfunction(member):
        return name + str(inspect.signature(member))
    if isinstance(member, property):
        name, member = "", member.fget
    text = getattr(member, "__doc__", None) or ""
    if "\nOverloaded function.\n" in text:
        candidates = re.findall(r"^\d+\. (.+)$", text, re.MULTILINE)
    else:
        candidates = text.splitlines()[:1]
    signatures = [line for line in candidates if line.startswith(f"{name}(")]
    return "\n".join(signatures).replace(f"{module}.{module}.", "")


if __name__ == "__main__":
    json.dump(list_api(importlib.import_module(sys.argv[1])), sys.stdout)
