"""Prometheus metrics, read by Prometheus's own parser."""

from __future__ import annotations

import socket
import time
from urllib.request import urlopen

import pytest

from edgekit.errors import OutputError
from edgekit.outputs.delivery import Delivery
from edgekit.outputs.prometheus import Metrics, serve_metrics
from edgekit.runtime.stream import StreamSummary
from edgekit.sources.source_state import SourceState
from tests.outputs.results import make_labels, make_numbered, make_result, wait_until
from tests.outputs.test_delivery import Collector

parser = pytest.importorskip("prometheus_client.parser")

SUMMARY = StreamSummary(
    frames=41,
    dropped=5,
    skipped=4,
    repeated=3,
    too_old=2,
    unfit=0,
    held_back=1,
    losses=6,
    seconds=1.0,
    fps=41.0,
    stages_ms={},
    ended=False,
    expected=None,
)


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def read(port: int) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    families = list(parser.text_string_to_metric_families(text))
    assert all(family.name.startswith("edgekit_") for family in families)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_what_is_told() -> None:
    output = Collector()
    output.reason = "away"
    delivery = Delivery(output, lambda text: None)
    delivery.put(make_numbered(1)[0])
    wait_until(lambda: delivery.counts.failures > 0)
    metrics = Metrics(lambda: SUMMARY, [delivery])
    for index in range(20):
        metrics.write(make_result(index))
    metrics.set_source_state(SourceState("frozen", "the same picture", 1.0))
    port = find_port()
    stop = serve_metrics(metrics, "127.0.0.1", port)
    try:
        seen = read(port)
    finally:
        stop()
    assert seen["edgekit_frames_total", ()] == 41
    assert seen["edgekit_frames_left_out_total", (("reason", "too_old"),)] == 2
    assert seen["edgekit_source_losses_total", ()] == 6
    assert seen["edgekit_source_state", (("state", "frozen"),)] == 1
    assert seen["edgekit_source_state", (("state", "live"),)] == 0
    assert seen["edgekit_stage_seconds_count", (("stage", "inference"),)] == 20
    assert seen["edgekit_stage_seconds_sum", (("stage", "inference"),)] == pytest.approx(0.06)
    assert seen["edgekit_age_seconds_bucket", (("le", "0.01"),)] == 20
    assert seen["edgekit_results_total", (("label", "class 3"),)] == 2
    assert seen["edgekit_output_up", (("output", "collector"),)] == 0
    assert seen["edgekit_output_failures_total", (("output", "collector"),)] >= 1
    delivery.begin_end()
    delivery.end(time.monotonic() + 2)


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OutputError, match=f"--metrics 127.0.0.1:{port} cannot be served"):
            serve_metrics(Metrics(lambda: SUMMARY), "127.0.0.1", port)


def test_each_label_counts() -> None:
    """Of a multi-label network, and a frame without any label counts too."""
    metrics = Metrics(lambda: SUMMARY)
    for result in (make_labels(0, 3), make_labels(3), make_labels()):
        metrics.write(result)
    port = find_port()
    stop = serve_metrics(metrics, "127.0.0.1", port)
    try:
        seen = read(port)
    finally:
        stop()
    names = {"class 0": 1, "class 3": 2, "none": 1}
    for name, count in names.items():
        assert seen["edgekit_results_total", (("label", name),)] == count
