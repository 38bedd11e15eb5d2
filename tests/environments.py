"""What the tests that leave this process share: cached folders, the wheel's requirements, skipping.

Everything built lies in `build/`, named by a digest of what made it, so a second run finds it done.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from email.parser import HeaderParser
from pathlib import Path
from typing import NoReturn

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parent.parent
CACHE = REPOSITORY / "build" / "test-environments"


class NoNetworkError(Exception):
    """What a test environment is made of cannot be fetched; the message quotes the tool."""


_NO_NETWORK = re.compile(
    r"connection (broken|refused|reset|timed out)|name resolution|could not resolve|unreachable"
    r"|read timed out|Failed getting release file|Couldn't download|Couldn't retrieve",
    re.IGNORECASE,
)


def let_children_take_signals() -> None:
    """Give the programs that tests start the default handlers, whatever this process ignores.

    What is ignored (SIGINT by a script's background job, SIGHUP by `nohup`) stays ignored in every
    child, what is handled does not; a handler that does nothing ignores it for this process alone.
    """
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def skip_or_fail(reason: str) -> NoReturn:
    """Skip with `reason`; where `CI=true` fail instead, as nothing may hide there."""
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(f"{reason} (a failure, not a skip, because CI is set)", pytrace=False)
    pytest.skip(reason)


def run_tool(args: Sequence[str | Path]) -> str:
    """Run a tool that builds an environment and return its output.

    Raises NoNetworkError when it could not fetch something, AssertionError on any other failure.
    """
    result = subprocess.run(
        [str(arg) for arg in args],
        env={**os.environ, "PIP_ROOT_USER_ACTION": "ignore"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if result.returncode == 0:
        return result.stdout
    if found := _NO_NETWORK.search(result.stdout):
        line = result.stdout[found.start() :].partition("\n")[0]
        raise NoNetworkError(f"no network for {Path(args[0]).name}: {line}")
    raise AssertionError(f"{args} ended with {result.returncode}:\n{result.stdout}")


def pip(*args: str | Path) -> None:
    """Run this Python's pip. Raises NoNetworkError."""
    run_tool([sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *args])


def cached_folder(name: str, ingredients: Iterable[str], fill: Callable[[Path], None]) -> Path:
    """The folder `name` in the cache, filled by `fill(folder)` unless the same ingredients made it.

    It gets its name only when it is complete, and one process at a time fills it: an interrupted
    build is begun again, never used.
    """
    digest = hashlib.sha256("\n".join(ingredients).encode()).hexdigest()[:12]
    folder = CACHE / f"{name}-{digest}"
    partial = folder.with_suffix(".partial")
    CACHE.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            if partial.exists():
                shutil.rmtree(partial)
            partial.mkdir()
            fill(partial)
            partial.rename(folder)
    return folder


def read_metadata(wheel: Path) -> Mapping[str, list[str]]:
    """The wheel's own METADATA: header name → values."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        message = HeaderParser().parsestr(archive.read(name).decode())
    return {key: [str(value) for value in message.get_all(key, [])] for key in message.keys()}  # noqa: SIM118


def wheel_requirements(
    wheel: Path, environment: Mapping[str, str], extras: Iterable[str] = ()
) -> list[str]:
    """What installing `wheel` with `extras` asks for in a marker `environment`, without markers."""
    wanted = []
    for text in read_metadata(wheel).get("Requires-Dist", []):
        requirement = Requirement(text)
        marker, requirement.marker = requirement.marker, None
        if marker is None or any(
            marker.evaluate({**environment, "extra": extra}) for extra in ("", *extras)
        ):
            wanted.append(str(requirement))
    return wanted
