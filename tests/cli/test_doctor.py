"""`edgekit doctor` on the machine that runs the tests, whatever it lacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environments import REPOSITORY

KEYS = ["name", "status", "found", "fix"]


def doctor(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgekit", "doctor", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )


@pytest.mark.slow
def test_json_is_one_valid_document(tmp_path: Path) -> None:
    result = doctor("--json", folder=tmp_path)
    checks = json.loads(result.stdout)["checks"]
    assert all(list(check) == KEYS for check in checks)
    assert len({check["name"] for check in checks}) == len(checks)
    assert {check["status"] for check in checks} <= {"ok", "warn", "fail"}
    assert all((check["fix"] is None) == (check["status"] == "ok") for check in checks)
    assert result.returncode == int(any(check["status"] == "fail" for check in checks))
    assert result.stderr == ""
    found = {check["name"]: check for check in checks}
    assert sys.executable in found["Python"]["found"]
    assert found["LiteRT"]["status"] == found["delegate"]["status"] == "ok"


@pytest.mark.slow
def test_a_broken_package_is_told_and_fails(tmp_path: Path) -> None:
    """Its fix is on the line below it, and neither line is broken in a log."""
    (tmp_path / "cv2.py").write_text("import os\nos.abort()\n")
    result = doctor(folder=tmp_path)
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    (index,) = [number for number, line in enumerate(lines) if line.startswith("OpenCV ")]
    assert lines[index].split(maxsplit=2)[1] == "fail"
    assert "cannot be imported: crashed with SIGABRT" in lines[index]
    assert lines[index + 1].split()[0] == "fix"
    assert "opencv" in lines[index + 1]
