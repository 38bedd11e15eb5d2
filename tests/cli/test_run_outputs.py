"""`edgekit run --output`, `--metrics`: beside the results, without changing them."""

from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.cli.test_run import (
    edgekit,
    read_lines,
    send_and_measure,
    start_and_wait_for_a_line,
)
from tests.sources.video_files import VIDEO, VIDEO_FRAMES, demo_model


@pytest.fixture
def model() -> Path:
    return demo_model()


def test_several_files_at_once(model: Path, tmp_path: Path) -> None:
    lines, table, video = (tmp_path / name for name in ("r.jsonl", "r.csv", "r.mp4"))
    outputs = [word for path in (lines, table, video) for word in ("--output", path)]
    result = edgekit("run", model, "--source", VIDEO, "--json", *outputs)
    assert result.returncode == 0, result.stderr
    printed = read_lines(result.stdout)
    kept = [json.loads(line) for line in lines.read_text().splitlines()]
    assert len(printed) == VIDEO_FRAMES
    assert [line["class"] for line in kept] == [line["class"] for line in printed]
    assert len({line["id"] for line in kept}) == VIDEO_FRAMES
    assert len(table.read_text().splitlines()) == VIDEO_FRAMES + 1
    assert video.stat().st_size > 100_000


def test_metrics_while_it_runs(model: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = start_and_wait_for_a_line(
        *("run", model, "--source", "test://?fps=30", "--json", "--metrics", port)
    )
    time.sleep(1)
    text = urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    seconds, told = send_and_measure(process, signal.SIGTERM)
    assert process.returncode == 0 and seconds < 2
    assert 'edgekit_source_state{state="live"} 1.0' in text
    assert f"metrics: http://127.0.0.1:{port}/metrics" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--output", "results.txt"], "is not understood: expected FILE.jsonl"),
        (["--output", "/nowhere/r.jsonl"], "cannot write /nowhere/r.jsonl"),
        (["--output", "mqtt://pi:hunter2@127.0.0.1:9/a"], "cannot reach mqtt://***@127.0.0.1:9/a"),
        (["--metrics", "port"], "--metrics is 'port': expected [ADDRESS:]PORT"),
    ],
)
def test_what_will_not_do(model: Path, words: list[str], told: str) -> None:
    result = edgekit("run", model, "--source", VIDEO, "--json", *words)
    assert result.returncode == 1
    assert told in result.stderr.splitlines()[-1]
    assert "hunter2" not in result.stderr and "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_port_in_use(model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = edgekit("run", model, "--source", VIDEO, "--metrics", port)
    assert result.returncode == 1
    told = result.stderr.splitlines()[-1]
    assert f"--metrics 127.0.0.1:{port} cannot be served (Address already in use)" in told
