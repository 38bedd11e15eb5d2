"""`edgekit report show|compare|gate` as a user calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.profile.record import encode_report
from tests.environments import REPOSITORY
from tests.report.records import make_report, make_result


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgekit", "report", *map(str, arguments)],
        capture_output=True,
        text=True,
        errors="backslashreplace",
        cwd=REPOSITORY,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("records")
    made = {
        "base": make_report(),
        "slow": make_report(make_result(median_ms=20.0, seed=1)),
        "doubtful": make_report(reasons=("it throttled",)),
    }
    paths = {}
    for name, report in made.items():
        paths[name] = folder / f"{name}.json"
        paths[name].write_bytes(encode_report(report))
    return paths


@pytest.mark.parametrize(
    ("form", "begins"),
    [("terminal", "digits on Raspberry"), ("md", "# digits on"), ("html", "<!doctype html>")],
)
def test_show_prints_the_form(records: dict[str, Path], form: str, begins: str) -> None:
    shown = run("show", records["base"], "--format", form)
    assert shown.returncode == 0
    assert shown.stdout.startswith(begins)
    assert shown.stderr == ""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("form", ["terminal", "md", "html"])
def test_show_prints_on_a_terminal_without_utf_8(
    records: dict[str, Path], encoding: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    shown = run("show", records["base"], "--format", form)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "digits on Raspberry Pi 4" in shown.stdout


@pytest.mark.parametrize("arguments", [("--format", "json"), ("--json",)])
def test_show_prints_the_record(records: dict[str, Path], arguments: tuple[str, ...]) -> None:
    shown = run("show", records["base"], *arguments)
    assert json.loads(shown.stdout) == json.loads(records["base"].read_text())


def test_show_refuses_a_truncated_record_in_one_line(
    records: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "report.json").write_bytes(records["base"].read_bytes()[:500])
    shown = run("show", tmp_path)
    assert shown.returncode == 1
    assert shown.stdout == ""
    assert shown.stderr.startswith("edgekit: ")
    assert "cut short" in shown.stderr
    assert shown.stderr.count("\n") == 1


@pytest.mark.parametrize("form", ["terminal", "md", "html", "json"])
def test_show_without_standard_output_is_one_line(records: dict[str, Path], form: str) -> None:
    command = f"exec {sys.executable} -m edgekit report show {records['base']} --format {form} >&-"
    shown = subprocess.run(
        ["sh", "-c", command], stderr=subprocess.PIPE, text=True, cwd=REPOSITORY, check=False
    )
    assert shown.returncode == 1
    assert "standard output is closed" in shown.stderr
    assert shown.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["show", "compare", "gate"])
def test_an_impossible_record_is_one_line(
    records: dict[str, Path], tmp_path: Path, command: str
) -> None:
    document = json.loads(records["base"].read_text())
    document["results"][0]["model_ms"]["p50"] = 0
    path = tmp_path / "report.json"
    path.write_text(json.dumps(document))
    done = run(command, *([path] if command == "show" else [records["base"], path]))
    assert done.returncode == 1
    assert "not a complete benchmark record" in done.stderr
    assert done.stderr.count("\n") == 1


def test_compare_prints_both(records: dict[str, Path]) -> None:
    compared = run("compare", records["base"], records["slow"])
    assert compared.returncode == 0
    assert "model alone, median ms" in compared.stdout
    assert "17.88" in compared.stdout


def test_compare_as_json(records: dict[str, Path]) -> None:
    compared = run("compare", records["base"], records["doubtful"], "--json")
    document = json.loads(compared.stdout)
    assert document["models"][0]["figures"]["model_p50_ms"]["ratio"] == 1
    assert document["trusted"] is False
    assert "warning: the new record is not trusted: it throttled" in compared.stderr


def test_gate_passes_an_equal_record(records: dict[str, Path]) -> None:
    gated = run("gate", records["base"], records["base"], "--max-regression", "5%")
    assert gated.returncode == 0
    assert "passed" in gated.stderr


def test_gate_fails_a_regression(records: dict[str, Path]) -> None:
    gated = run("gate", records["base"], records["slow"], "--max-regression", "5%", "--json")
    assert gated.returncode == 1
    assert "regression: digits: model alone, median ms +1" in gated.stderr
    document = json.loads(gated.stdout)
    assert document["passed"] is False
    assert document["regressions"][0]["figure"] == "model_p50_ms"


def test_gate_fails_when_a_model_is_missing(records: dict[str, Path], tmp_path: Path) -> None:
    both = tmp_path / "both.json"
    both.write_bytes(encode_report(make_report(make_result(), make_result("other", 9.0))))
    gated = run("gate", both, records["base"])
    assert gated.returncode == 1
    (line,) = [text for text in gated.stderr.splitlines() if text.startswith("edgekit: ")]
    assert line.startswith(f"edgekit: other is in {both} but not in {records['base']}: ")
    assert "passed" not in gated.stderr
    assert run("gate", records["base"], both).returncode == 0


def test_gate_allows_what_it_is_told_to(records: dict[str, Path]) -> None:
    assert run("gate", records["base"], records["slow"], "--max-regression", "20%").returncode == 0


def test_gate_may_require_trust(records: dict[str, Path]) -> None:
    paths = records["base"], records["doubtful"]
    assert run("gate", *paths).returncode == 0
    gated = run("gate", *paths, "--require-trusted")
    assert gated.returncode == 1
    assert "it throttled" in gated.stderr


@pytest.mark.parametrize("text", ["5", "0.05", "-5%", "five%", "nan%", "inf%", "5%%"])
def test_gate_wants_a_percentage(records: dict[str, Path], text: str) -> None:
    gated = run("gate", records["base"], records["base"], f"--max-regression={text}")
    assert gated.returncode == 2
    assert "as in 5%" in gated.stderr
