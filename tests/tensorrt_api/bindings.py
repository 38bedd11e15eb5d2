"""NVIDIA's Python bindings of each TensorRT, importable on a machine that has no TensorRT.

In: a release. Out: a folder for `PYTHONPATH` that holds the published bindings, unchanged, next to
empty libraries that carry the names and symbols which the bindings link to; and what the module
then offers. Importing and listing is all that works: whatever reaches into TensorRT itself crashes.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.environments import cached_folder, pip, run_tool

MODULE = "tensorrt"
"""Stands for the module itself wherever a class is named, for `tensorrt_rtx` too."""

TOOLS = ("gcc", "nm", "readelf")
LAYOUT = "1"
"""Raise it when this module comes to build something else from the same ingredients."""


@dataclass(frozen=True)
class Release:
    """One published version of the bindings."""

    name: str
    requirement: str
    newest_python: tuple[int, int]
    module: str = MODULE

    def __str__(self) -> str:
        return self.name


RELEASES = (
    Release("8.6.1", "tensorrt-bindings==8.6.1", (3, 11)),
    Release("10.3.0", "tensorrt-cu12-bindings==10.3.0", (3, 12)),
    Release("10.13.3.9", "tensorrt-cu12-bindings==10.13.3.9", (3, 13)),
    Release("10.16.1.11", "tensorrt-cu12-bindings==10.16.1.11", (3, 13)),
    Release("11.4.0.106", "tensorrt-cu12-bindings==11.4.0.106", (3, 14)),
    Release("rtx-1.7.1", "tensorrt-rtx-cu12-bindings==1.7.1.116", (3, 14), "tensorrt_rtx"),
)


@dataclass(frozen=True)
class TensorRTApi:
    """What one release offers. Nested classes are named with a dot, as `Logger.Severity`."""

    version: str
    module: str
    classes: Mapping[str, Mapping[str, str]]
    """Class → member → signature."""
    enums: Mapping[str, tuple[str, ...]]
    """Enum class → its members' names, in order."""
    folder: Path
    """On `PYTHONPATH` it lets another process import `module`."""

    def has_class(self, name: str) -> bool:
        """Whether the module has a class `name`."""
        return name in self.classes

    def members(self, class_name: str) -> set[str]:
        """Names of methods, properties, enum members and nested classes, inherited ones included.

        Raises KeyError where there is no such class.
        """
        return set(self._members(class_name))

    def signature(self, class_name: str, member: str) -> str:
        """The call as pybind11 writes it, one line for each overload, for a property its getter's.

        Empty where pybind11 gives none. Raises KeyError where there is no such member.
        """
        members = self._members(class_name)
        if member not in members:
            raise KeyError(f"{self.module} {self.version} has no {class_name}.{member}")
        return members[member]

    def enum_members(self, enum: str) -> tuple[str, ...]:
        """Names of an enum's members, in order. Raises KeyError where there is no such enum."""
        if enum not in self.enums:
            raise KeyError(f"{self.module} {self.version} has no enum {enum}")
        return self.enums[enum]

    def _members(self, class_name: str) -> Mapping[str, str]:
        if class_name not in self.classes:
            raise KeyError(f"{self.module} {self.version} has no class {class_name}")
        return self.classes[class_name]


def missing_tools() -> str | None:
    """Which tools this machine lacks to make the empty libraries; None when it has all."""
    lacking = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"{', '.join(lacking)} not found: install gcc and binutils" if lacking else None


def missing_wheel(release: Release) -> str | None:
    """Why nothing is published for this Python on this machine; None when something is."""
    if platform.machine() != "x86_64":
        return f"{release.requirement} is published for x86_64, not {platform.machine()}"
    running = sys.version_info[:2]
    if running > release.newest_python:
        newest = release.newest_python
        return (
            f"{release.requirement} is published up to Python {newest[0]}.{newest[1]}, "
            f"this is {running[0]}.{running[1]}"
        )
    return None


def read_api(release: Release) -> TensorRTApi:
    """Import a release in a process of its own and list what it offers. Raises NoNetworkError."""
    folder = importable_folder(release)
    # -S: an installed TensorRT must not be found in place of the one asked for.
    listing = subprocess.run(
        [sys.executable, "-S", Path(__file__).with_name("list_api.py"), release.module],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    assert listing.returncode == 0, (
        f"listing {release.requirement} ended with {listing.returncode}:\n{listing.stderr}"
    )
    api = json.loads(listing.stdout)
    enums = {name: tuple(members) for name, members in api["enums"].items()}
    return TensorRTApi(release.name, release.module, api["classes"], enums, folder)


def importable_folder(release: Release) -> Path:
    """The cached folder from which `release.module` can be imported. Raises NoNetworkError."""

    def fill(folder: Path) -> None:
        _unpack_bindings(release, folder)
        _add_empty_libraries(folder / release.module / f"{release.module}.so")

    made_of = (LAYOUT, release.requirement, str(sys.implementation.cache_tag))
    # No dots: cached_folder would take what follows the last one for a suffix.
    return cached_folder(f"tensorrt-{release.name.replace('.', '_')}", made_of, fill)


def _unpack_bindings(release: Release, folder: Path) -> None:
    """Under the name that the package has on a board, where one package holds all of it."""
    pip("download", "--no-deps", "--only-binary=:all:", f"--dest={folder}", release.requirement)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    wheel.unlink()
    (folder / f"{release.module}_bindings").rename(folder / release.module)


def _add_empty_libraries(extension: Path) -> None:
    """Beside the extension, where its run path looks first."""
    source = extension.with_name("empty.c")
    functions = [
        f"void {name}(void) {{ __builtin_trap(); }}\n" for name in _lacking_symbols(extension)
    ]
    source.write_text("".join(functions))
    for library in _nvidia_libraries(extension):
        run_tool(
            ["gcc", "-shared", "-fPIC", "-nostdlib", "-o", extension.with_name(library), source]
        )


def _nvidia_libraries(extension: Path) -> list[str]:
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", run_tool(["readelf", "--dynamic", extension]))
    return [name for name in needed if name.startswith(("libnv", "libtensorrt"))]


def _lacking_symbols(extension: Path) -> list[str]:
    """What the extension links to and neither a system library nor this Python has.

    Symbols of system libraries carry a version (`free@GLIBC_2.2.5`), NVIDIA's do not.
    """
    this_process = ctypes.CDLL(None)
    symbols = re.findall(r"^\s*U (\S+)$", run_tool(["nm", "-D", extension]), re.MULTILINE)
    return [name for name in symbols if "@" not in name and not hasattr(this_process, name)]
