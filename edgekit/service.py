"""`edgekit run` as a systemd service: its unit, its settings, and its bundle.

The unit runs as a user of its own that exists only while it runs (DynamicUser), sees nothing of the
homes, and may open cameras and GPUs. What `edgekit run` is to do stands in a settings file that
systemd hands over as a credential, so that passwords in it are readable by root alone.
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
from typing import Any, NamedTuple

from edgekit.errors import SettingsError
from edgekit.files import write_atomic

ROOT = Path("/")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,60}")

UNIT = """\
# Written by `edgekit service install`; `edgekit service remove {name}` takes it away.
[Unit]
Description=edgekit {name}: classify a camera
Wants=network-online.target
After=network-online.target time-sync.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={executable} run
# Results go to the outputs of the settings, messages to the journal.
StandardOutput=null
Restart=always
RestartSec=2
WatchdogSec=60
# A Jetson may build its engine first.
TimeoutStartSec=1800
TimeoutStopSec=10

LoadCredential=edgekit.toml:{settings}
StateDirectory=edgekit/{name}
CacheDirectory=edgekit/{name}
Environment=EDGEKIT_CACHE=/var/cache/edgekit/{name}
Environment=HOME=/var/lib/edgekit/{name}
WorkingDirectory=/var/lib/edgekit/{name}

DynamicUser=yes
SupplementaryGroups={groups}
DevicePolicy=closed
DeviceAllow=char-video4linux rw
DeviceAllow=char-media rw
DeviceAllow=char-drm rw
DeviceAllow=char-dma_heap rw
DeviceAllow=char-nvidia-frontend rw
DeviceAllow=char-nvhost rw
DeviceAllow=/dev/nvmap rw
# Where NVIDIA's camera daemon listens.
BindPaths=-/tmp/argus_socket

NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateMounts=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
UMask=0077

[Install]
WantedBy=multi-user.target
"""


class ServiceFiles(NamedTuple):
    """Where the parts of a service lie."""

    unit: Path
    settings: Path
    bundle: Path


def find_files(name: str, root: Path = ROOT) -> ServiceFiles:
    """The files of the service `name`. Raises SettingsError for a name that will not do."""
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
            f"{path} lies in {hidden or 'a home'}, which a service of its own user may not enter:"
            " install edgekit into /opt/edgekit (sudo python3 -m venv --system-site-packages"
            " /opt/edgekit; sudo /opt/edgekit/bin/pip install edgekit-*.whl) and run"
            " sudo /opt/edgekit/bin/edgekit service install"
        )


def _is_open(folder: Path) -> bool:
    try:
        return bool(folder.stat().st_mode & 0o001)
    except OSError:
        return False


def write_settings(options: Mapping[str, Any]) -> str:
    """`edgekit.toml` with the options of `edgekit run`."""
    lines = ["# What this service does: the options of `edgekit run`.", "[run]"]
    for name, value in options.items():
        # JSON's strings, numbers, true and false, and lists of them are TOML's as well.
        lines.append(f"{name} = {json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def write_unit(name: str, executable: Path, settings: Path, groups: str) -> str:
    """The unit file."""
    return UNIT.format(name=name, executable=executable, settings=settings, groups=groups)


def find_groups(root: Path = ROOT) -> str:
    """Of the groups that own cameras and GPUs, those that this system has."""
    try:
        known = (root / "etc/group").read_text()
    except OSError:
        known = ""
    names = {line.partition(":")[0] for line in known.splitlines()}
    return " ".join(name for name in ("video", "render") if name in names)


def install(
    name: str,
    bundle: Path | None,
    options: Mapping[str, Any],
    *,
    executable: Path,
    root: Path = ROOT,
) -> ServiceFiles:
    """Write the three files, each whole or not at all. Raises SettingsError or OutputError."""
    files = find_files(name, root)
    settings = dict(options)
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
    """Delete the files of a service; which there were."""
    found = [path for path in find_files(name, root) if path.exists()]
    for path in found:
        path.unlink()
    return found


def run_systemctl(*words: str) -> subprocess.CompletedProcess[str]:
    """Call systemctl. Raises SettingsError where there is none, or it fails."""
    program = shutil.which("systemctl")
    if program is None or not (ROOT / "run/systemd/system").is_dir():
        raise SettingsError(
            "systemd does not run here, so no service can be started: expected a board that was"
            " started with it; --dry-run prints the unit"
        )
    done = subprocess.run([program, *words], capture_output=True, text=True)
    if done.returncode and words[0] not in ("status", "disable"):
        told = done.stderr.strip().partition("\n")[0]
        raise SettingsError(f"systemctl {' '.join(words)} failed: {told}")
    return done


def check_root() -> None:
    """Raise SettingsError for a user who may not install services."""
    if os.geteuid():
        raise SettingsError("services belong to root: run it with sudo")
