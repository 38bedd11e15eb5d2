"""`edgekit run` as a systemd service: writes and removes its unit, its settings, and its bundle.

The service runs as a user of its own that exists only while it runs (DynamicUser), cannot read the
homes, and may open cameras and GPUs. The options of `edgekit run` are in a settings file that
systemd passes on as a credential, so that passwords in it are readable by root alone.
https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from edgekit.errors import SettingsError
from edgekit.files import write_atomic
from edgekit.resources import resource

ROOT = Path("/")
TEMPLATE = "deploy/edgekit.service.in"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,60}")

Setting = str | int | float | bool | list[str]
"""The value of an option in a settings file."""


class ServiceFiles(NamedTuple):
    """Where the parts of a service are stored."""

    unit: Path
    settings: Path
    bundle: Path


def find_files(name: str, root: Path = ROOT) -> ServiceFiles:
    """The files of the service `name`. Raises SettingsError for a name that is not allowed."""
    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"the service's name is {name!r}: expected letters, digits, - and _, such as shelf-3"
        )
    return ServiceFiles(
        unit=root / f"etc/systemd/system/edgekit-{name}.service",
        settings=root / f"etc/edgekit/{name}.toml",
        bundle=root / f"etc/edgekit/{name}.edgekit",
    )


def find_executable() -> Path:
    """The `edgekit` of this environment. Raises SettingsError when the service's user could not
    run it, as in a home."""
    path = Path(sys.executable).with_name("edgekit")
    if not path.is_file():
        raise SettingsError(
            f"there is no {path}: install edgekit into an environment, as in"
            " sudo python3 -m venv --system-site-packages /opt/edgekit"
        )
    return path


def check_executable(path: Path) -> None:
    """Raise SettingsError when a user of no home could not run `path`."""
    hidden = next((part for part in path.parents if not _is_open(part)), None)
    in_home = any(part in (Path("/home"), Path("/root")) for part in path.parents)
    if hidden is not None or in_home:
        raise SettingsError(
            f"{path} is in {hidden or 'a home'}, which a service of its own user may not enter:"
            " install edgekit into /opt/edgekit (sudo python3 -m venv --system-site-packages"
            " /opt/edgekit; sudo /opt/edgekit/bin/pip install edgekit-*.whl) and run"
            " sudo /opt/edgekit/bin/edgekit service install"
        )


def _is_open(folder: Path) -> bool:
    try:
        return bool(folder.stat().st_mode & 0o001)
    except OSError:
        return False


def write_settings(options: Mapping[str, Setting]) -> str:
    """`edgekit.toml` with the options of `edgekit run`."""
    lines = ["# What this service does: the options of `edgekit run`.", "[run]"]
    for name, value in options.items():
        # JSON's strings, numbers, true and false, and lists of them are TOML's as well.
        lines.append(f"{name} = {json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def write_unit(name: str, executable: Path, settings: Path, groups: str) -> str:
    """The text of the unit file.

    Args:
        name: the service's name, without `edgekit-`.
        executable: the `edgekit` that it starts.
        settings: its settings file.
        groups: the groups that own cameras and GPUs, separated by spaces.

    Returns:
        The template in deploy/ with these values.

    Raises:
        SettingsError: this installation lacks the template.
    """
    unit = resource(TEMPLATE).read_text(encoding="utf-8")
    values = {"NAME": name, "EXECUTABLE": executable, "SETTINGS": settings, "GROUPS": groups}
    for placeholder, value in values.items():
        unit = unit.replace(f"@{placeholder}@", str(value))
    return unit


def find_groups(root: Path = ROOT) -> str:
    """The groups that own cameras and GPUs, as far as this system has them, separated by spaces."""
    try:
        known = (root / "etc/group").read_text()
    except OSError:
        known = ""
    names = {line.partition(":")[0] for line in known.splitlines()}
    return " ".join(name for name in ("video", "render") if name in names)


def install(
    name: str,
    bundle: Path | None,
    options: Mapping[str, Setting],
    *,
    executable: Path,
    root: Path = ROOT,
) -> ServiceFiles:
    """Write the unit, the settings, and a copy of the bundle, each whole or not at all.

    Args:
        name: the service's name, without `edgekit-`.
        bundle: the bundle that it runs; None for the demo's.
        options: the options of `edgekit run`, as a settings file names them.
        executable: the `edgekit` that it starts.
        root: the folder that stands for `/`.

    Returns:
        The paths of the three files.

    Raises:
        SettingsError: the name is not allowed.
        OutputError: a file cannot be written.
    """
    files = find_files(name, root)
    settings: dict[str, Setting] = dict(options)
    for folder in (files.unit.parent, files.settings.parent):
        folder.mkdir(parents=True, exist_ok=True)
    files.settings.parent.chmod(0o755)  # whatever root's umask: the service's user reads the bundle
    if bundle is not None:
        write_atomic(files.bundle, bundle.read_bytes(), mode=0o644)
        files.bundle.chmod(0o644)
        settings = {"bundle": f"/{files.bundle.relative_to(root)}", **settings}
    text = write_settings(settings)
    write_atomic(files.settings, text.encode(), mode=0o600)
    shown = Path("/") / files.settings.relative_to(root)
    unit = write_unit(name, executable, shown, find_groups(root))
    write_atomic(files.unit, unit.encode(), mode=0o644)
    return files


def remove(name: str, root: Path = ROOT) -> list[Path]:
    """Delete the files of a service; returns those that existed."""
    found = [path for path in find_files(name, root) if path.exists()]
    for path in found:
        path.unlink()
    return found


def run_systemctl(*words: str) -> subprocess.CompletedProcess[str]:
    """Call systemctl. Raises SettingsError where systemd does not run, or when it fails."""
    program = shutil.which("systemctl")
    if program is None or not (ROOT / "run/systemd/system").is_dir():
        raise SettingsError(
            "systemd does not run here, so no service can be started: expected a board that was"
            " started with it; --dry-run prints the unit"
        )
    done = subprocess.run([program, *words], capture_output=True, text=True)
    if done.returncode and words[0] not in ("status", "disable"):
        reason = done.stderr.strip().partition("\n")[0]
        raise SettingsError(f"systemctl {' '.join(words)} failed: {reason}")
    return done


def check_root() -> None:
    """Raise SettingsError for a user who may not install services."""
    if os.geteuid():
        raise SettingsError("services belong to root: run it with sudo")
