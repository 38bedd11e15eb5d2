"""The scripts in `benchmarks/` run: all answer `--help`, the quick ones measure a little.

`make test` also checks the types of all of them. The figures are not looked at here: tests share
their machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environments import REPOSITORY

BENCHMARKS = REPOSITORY / "benchmarks"
SCRIPTS = sorted(
    path.name for path in BENCHMARKS.glob("*.py") if 'if __name__ == "__main__"' in path.read_text()
)
WITHOUT_HELP = {"int8_other_tools.py"}
"""A worker that int8_accuracy.py starts."""
ASK_FOR_HELP = """
import runpy, sys, traceback
folder, *scripts = sys.argv[1:]
sys.path.insert(0, folder)
for script in scripts:
    sys.argv = [f"{folder}/{script}", "--help"]
    print("##", script)
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        print("exit code", end.code or 0)
    except BaseException:
        traceback.print_exc(file=sys.stdout)
"""
QUICK = {
    "start_up.py": (("--rounds", "1"), "help_ms"),
    "benchmark_overhead.py": (("--rounds", "1", "--frames", "10"), "overhead_percent"),
    "benchmark_agreement.py": (("--rounds", "1", "--seconds", "0.05"), "difference_percent"),
    "digit_networks.py": (("calibration/demo/digits.pt",), "digits"),
}
"""Options, and a figure that the result must have."""


@pytest.mark.slow
def test_every_script_answers_help() -> None:
    """All in one process: the heavy libraries load once."""
    asked = [script for script in SCRIPTS if script not in WITHOUT_HELP]
    command = [sys.executable, "-c", ASK_FOR_HELP, str(BENCHMARKS), *asked]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=REPOSITORY)
    answers = dict(part.split("\n", 1) for part in done.stdout.split("## ")[1:])
    assert list(answers) == asked, done.stderr
    wrong = {
        script: text
        for script, text in answers.items()
        if not (text.startswith("usage: ") and text.endswith("exit code 0\n"))
    }
    assert wrong == {}


def test_every_script_that_measures_writes_a_result() -> None:
    others = {"fill_tables.py", "measure_speed.py", *WITHOUT_HELP}
    silent = [
        script
        for script in SCRIPTS
        if script not in others and "save_result(" not in (BENCHMARKS / script).read_text()
    ]
    assert silent == []


def test_the_readme_names_every_script_and_every_result() -> None:
    text = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    results = [path.stem for path in (BENCHMARKS / "results").glob("*.json")]
    assert [name for name in (*SCRIPTS, *results) if f"`{name}`" not in text] == []


@pytest.mark.slow
@pytest.mark.parametrize("script", QUICK)
def test_a_quick_one_writes_its_result(script: str, tmp_path: Path) -> None:
    options, figure = QUICK[script]
    path = tmp_path / "result.json"
    command = [sys.executable, str(BENCHMARKS / script), *options, "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=REPOSITORY)
    # 1 is also its verdict where the machine is busy; without a result it has failed.
    assert done.returncode in (0, 1) and path.is_file(), done.stdout + done.stderr
    result = json.loads(path.read_text(encoding="utf-8"))
    assert result["benchmark"] == Path(script).stem
    assert figure in result["figures"]
    assert "--json" not in result["command"] and str(tmp_path) not in result["command"]
