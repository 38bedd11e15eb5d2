"""Prometheus metrics of a run. https://prometheus.io/docs/instrumenting/exposition_formats/"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from edgekit.board.sensors import Sensors
from edgekit.errors import MissingPackageError, OutputError
from edgekit.outputs.delivery import Delivery
from edgekit.runtime.classify_frame import Result
from edgekit.runtime.stream import StreamSummary
from edgekit.sources.source_state import SourceState
from edgekit.spec import NO_LABEL

STAGES = ("capture", "preprocess", "inference", "postprocess")
BUCKETS_S = (
    *(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05),
    *(0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0),
)
LEFT_OUT = ("dropped", "skipped", "repeated", "too_old", "held_back")
STATES = ("live", "frozen", "lost")


class Metrics:
    """A sink that keeps counts and histograms; the rest is read when the metrics are asked for.

    Every name begins with `edgekit_`. Raises MissingPackageError without prometheus-client.
    """

    def __init__(
        self, summary: Callable[[], StreamSummary], deliveries: Sequence[Delivery] = ()
    ) -> None:
        library = import_prometheus()
        self._library = library
        self._summary = summary
        self._deliveries = deliveries
        self._sensors = Sensors()
        self._state = "live"
        self.registry = library.CollectorRegistry()
        stages = library.Histogram(
            "edgekit_stage_seconds",
            "Time a frame spends in each stage.",
            ["stage"],
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self._stages = [stages.labels(stage) for stage in STAGES]
        self._age = library.Histogram(
            "edgekit_age_seconds",
            "From a frame's capture to its answer.",
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self._results = library.Counter(
            "edgekit_results",
            "Results by class or label.",
            ["label"],
            registry=self.registry,
        )
        self.registry.register(self)

    def write(self, result: Result) -> None:
        """Count a result."""
        for histogram, spent_ns in zip(self._stages, result.times, strict=True):
            histogram.observe(spent_ns / 1e9)
        self._age.observe(result.age_ns / 1e9)
        for name in [place.label for place in result.prediction.answer] or [NO_LABEL]:
            self._results.labels(name).inc()

    def set_source_state(self, state: SourceState) -> None:
        """Store a change of the source's state."""
        self._state = state.name

    def close(self) -> None:
        """Does nothing: there is nothing to close."""

    def collect(self) -> Iterable[Any]:
        """The metrics that are read when somebody asks; prometheus-client calls it."""
        core, summary = self._library.core, self._summary()
        frames = core.CounterMetricFamily("edgekit_frames", "Frames that were classified.")
        frames.add_metric([], summary.frames)
        yield frames
        left_out = core.CounterMetricFamily(
            "edgekit_frames_left_out", "Frames that gave no result, by reason.", labels=["reason"]
        )
        for reason in LEFT_OUT:
            left_out.add_metric([reason], getattr(summary, reason))
        yield left_out
        losses = core.CounterMetricFamily("edgekit_source_losses", "How often the source was lost.")
        losses.add_metric([], summary.losses)
        yield losses
        state = core.GaugeMetricFamily(
            "edgekit_source_state", "1 for the state that the source is in.", labels=["state"]
        )
        for name in STATES:
            state.add_metric([name], float(name == self._state))
        yield state
        temperature = self._sensors.read_temperature()
        if temperature is not None:
            yield core.GaugeMetricFamily(
                "edgekit_temperature_celsius", "Of the processor.", value=temperature
            )
        yield from self._collect_outputs()

    def _collect_outputs(self) -> Iterable[Any]:
        core = self._library.core
        failures = core.CounterMetricFamily(
            "edgekit_output_failures", "Attempts of an output that failed.", labels=["output"]
        )
        dropped = core.CounterMetricFamily(
            "edgekit_output_dropped", "Results an output could not keep.", labels=["output"]
        )
        working = core.GaugeMetricFamily(
            "edgekit_output_up", "1 while an output works.", labels=["output"]
        )
        for delivery in self._deliveries:
            counts = delivery.counts
            failures.add_metric([delivery.name], counts.failures)
            dropped.add_metric([delivery.name], counts.dropped)
            working.add_metric([delivery.name], float(counts.state == "works"))
        return (failures, dropped, working)


def serve_metrics(metrics: Metrics, address: str, port: int) -> Callable[[], None]:
    """Serve `/metrics` in a thread.

    Args:
        metrics: what is served.
        address: an address of this machine.
        port: a free port.

    Returns:
        A function that ends it.

    Raises:
        OutputError: the port cannot be used.
        MissingPackageError: prometheus-client is not installed.
    """
    library = import_prometheus()
    try:
        server, thread = library.start_http_server(port, address, metrics.registry)
    except OSError as error:
        raise OutputError(
            f"--metrics {address}:{port} cannot be served ({error.strerror}): choose a port that is"
            " free, or stop what uses it"
        ) from error

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join(1)

    return stop


def import_prometheus() -> Any:
    """Import prometheus_client with its module `core`. Raises MissingPackageError."""
    try:
        import prometheus_client
        import prometheus_client.core
    except ImportError as error:
        raise MissingPackageError(
            "--metrics needs prometheus-client, which is not installed: pip install"
            " 'edgekit[metrics]'"
        ) from error
    return prometheus_client
