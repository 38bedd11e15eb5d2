"""`edgekit run` from Python: the same results, and nothing left open whatever happens."""

from __future__ import annotations

import itertools
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest

import edgekit
from edgekit.errors import BundleError, OutputError, SettingsError, SourceError
from edgekit.resources import demo_bundle, demo_video
from edgekit.sources.source_state import SourceState
from tests.sources.video_files import serve_mjpeg, wait_for_threads

VIDEO = str(demo_video())


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    threads = cv2.getNumThreads()
    yield
    assert wait_for_threads("edgekit-") == []
    assert cv2.getNumThreads() == threads


def make_options(**fields: Any) -> edgekit.RunOptions:
    return edgekit.RunOptions(**{"model": demo_bundle(), "source": VIDEO, **fields})


def test_every_frame_of_a_file_and_the_outputs_have_the_same(tmp_path: Path) -> None:
    output = tmp_path / "results.jsonl"
    run = edgekit.run_stream(make_options(outputs=(str(output),), frames=30, top=2))
    results = list(run)
    assert [result.index for result in results] == list(range(30))
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(30))
    assert [line["label"] for line in lines] == [result.prediction.label for result in results]
    assert all(len(result.prediction.top) == 2 for result in results)
    assert run.summary().frames == 30
    assert run.source.kind == "video" and not run.is_live


def test_the_demo_is_what_there_is_without_a_model() -> None:
    (result,) = edgekit.run_stream(edgekit.RunOptions(source=VIDEO, frames=1))
    with edgekit.run_stream(make_options(frames=1)) as run:
        assert [r.prediction.label for r in run] == [result.prediction.label]


def test_results_are_those_of_the_classifier() -> None:
    classifier = edgekit.Classifier.from_bundle(demo_bundle())
    source = edgekit.open_source(VIDEO)
    expected: list[str] = []
    while len(expected) < 10 and (frame := source.read()) is not None:
        expected.append(classifier.classify_bgr(frame.pixels).label)
    source.close()
    run = edgekit.run_stream(make_options(frames=10))
    assert [result.prediction.label for result in run] == expected


def test_a_live_source_its_region_and_filters() -> None:
    options = make_options(
        source="test://?fps=100&frames=40",
        region=edgekit.Region(0, 0, 100, 100),
        policy=edgekit.FramePolicy(kind="every"),
        smooth=0.5,
        on_change=True,
    )
    run = edgekit.run_stream(options)
    assert run.open() and run.is_live
    results = list(run)
    summary = run.summary()
    assert summary.frames == len(results) + summary.held_back == 40 - summary.dropped
    labels = [result.prediction.label for result in results]
    assert all(first != second for first, second in itertools.pairwise(labels))


def test_leaving_early_closes_everything() -> None:
    for result in edgekit.run_stream(make_options(serve=("127.0.0.1", find_port()))):
        assert result.index == 0
        break


def test_closing_before_the_first_result() -> None:
    run = edgekit.run_stream(make_options())
    assert run.open()
    run.close()
    edgekit.run_stream(make_options()).close()


def test_a_run_is_iterated_once() -> None:
    run = edgekit.run_stream(make_options(frames=2))
    results = iter(run)
    assert next(results).index == 0
    with pytest.raises(SettingsError, match="has begun or ended already"):
        next(iter(run))
    assert [result.index for result in results] == [1]  # the first one goes on
    with pytest.raises(SettingsError, match=r"run of .*mp4 has begun or ended already: call run_"):
        next(iter(run))
    closed = edgekit.run_stream(make_options())
    closed.close()
    with pytest.raises(SettingsError, match="has begun or ended already"):
        closed.open()
    closed.close()


def test_stop_from_another_thread() -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    run = edgekit.run_stream(make_options(source="test://"), stop=stop)
    assert len(list(run)) > 0
    stopped = edgekit.run_stream(make_options(source="test://"), stop=stop)
    assert not stopped.open()
    assert list(stopped) == []


def test_a_lost_source_is_reported() -> None:
    states: list[SourceState] = []
    stop = threading.Event()

    def end(state: SourceState) -> None:
        states.append(state)
        stop.set()

    with serve_mjpeg(frames=20, interval_s=0.01) as url:
        run = edgekit.run_stream(make_options(source=url), stop=stop, on_state_change=end)
        assert len(list(run)) > 0
    assert [state.name for state in states] == ["lost"]


def test_without_reopening_the_loss_is_raised() -> None:
    with serve_mjpeg(frames=20, interval_s=0.01) as url:
        run = edgekit.run_stream(make_options(source=url, reopen=False))
        with pytest.raises(SourceError, match="stopped delivering after"):
            list(run)
    assert run.summary().frames > 0


def test_page_and_metrics_say_where_they_are() -> None:
    page, metrics = find_port(), find_port()
    options = make_options(serve=("127.0.0.1", page), metrics=("127.0.0.1", metrics))
    with edgekit.run_stream(options) as run:
        assert (run.page_url, run.metrics_url) == (None, None)
        run.open()
        assert run.page_url == f"http://127.0.0.1:{page}/"
        assert run.metrics_url == f"http://127.0.0.1:{metrics}/metrics"
        for url in (page, metrics):
            socket.create_connection(("127.0.0.1", url), 5).close()


def test_a_port_in_use_leaves_nothing_open(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = ("127.0.0.1", taken.getsockname()[1])
        outputs = (str(tmp_path / "a.jsonl"),)
        with pytest.raises(OutputError, match="cannot be served"):
            edgekit.run_stream(make_options(serve=address, outputs=outputs)).open()


def test_an_output_that_cannot_be_opened_leaves_nothing_open(tmp_path: Path) -> None:
    outputs = (str(tmp_path / "a.jsonl"), str(tmp_path / "missing/b.jsonl"))
    with pytest.raises(OutputError, match=r"missing/b\.jsonl"):
        edgekit.run_stream(make_options(outputs=outputs)).open()


def test_a_model_that_is_missing_leaves_nothing_open() -> None:
    with pytest.raises(BundleError, match="cannot read bundle"):
        edgekit.run_stream(make_options(model="no.edgekit"))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"wait": True}, "--wait is for cameras and streams"),
        ({"reopen": False}, "--once is for cameras and streams"),
        ({"policy": edgekit.FramePolicy(max_age_s=1.0)}, "--max-age is for cameras and streams"),
        ({"resize": "crop"}, "--resize is for plain .tflite files"),
        ({"top": 0}, "top is 0: expected 1 or more"),
        ({"smooth": 0.0}, r"smooth is 0\.0: expected a weight above 0"),
        ({"min_score": 1.5}, r"min_score is 1\.5: expected a score from 0 to 1"),
        ({"rotate_bytes": 0}, "rotate_bytes is 0: expected more than 0"),
        ({"serve": ("", 70000)}, "expected an address and a port"),
    ],
)
def test_options_that_do_not_go_together(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        edgekit.run_stream(make_options(**fields))


def find_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
