"""Where the results of a run go: outputs in threads of their own, window, metrics and web page."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from edgekit.outputs.base import Output, Sink
from edgekit.progress import Progress
from edgekit.runtime.classify_frame import Result
from edgekit.runtime.stream import Stream
from edgekit.sources.source_state import SourceState
from edgekit.streaming.options import RunOptions

if TYPE_CHECKING:
    from edgekit.outputs.delivery import Delivery
    from edgekit.outputs.prometheus import Metrics

USUAL_FPS = 10.0
"""Of an annotated video, when the source does not say its rate."""


class RunOutputs:
    """All that `RunOptions` names to take results: one sink for the loop. Used by one thread.

    `page_url` and `metrics_url` say where it serves, once it is open.
    """

    def __init__(self, options: RunOptions, progress: Progress) -> None:
        self.page_url: str | None = None
        self.metrics_url: str | None = None
        self._options = options
        self._progress = progress
        self._always_wants_pixels = options.show or any(map(_is_video, options.outputs))
        self._viewer_present = threading.Event()
        self._sinks: list[Sink] = []
        self._listeners: list[Callable[[SourceState], None]] = []
        self._cleanup = ExitStack()

    def wants_pixels(self) -> bool:
        """Whether the next result is to carry its frame."""
        return self._always_wants_pixels or self._viewer_present.is_set()

    def open(self, stream: Stream, class_names: Sequence[str] | None) -> None:
        """Open every output, once the stream is open; `class_names` are what an answer may be, None
        for a multi-label network.

        Raises OutputError, SettingsError or MissingPackageError for the first that cannot be
        opened; `close` closes those before it.
        """
        if self._options.show:
            from edgekit.outputs.window import Window

            self._add(Window(stream.stop))
        deliveries = self._open_outputs(stream, class_names)
        if self._options.serve is None and self._options.metrics is None:
            return
        from edgekit.outputs.prometheus import Metrics

        metrics = Metrics(partial(stream.summary, stages=False), deliveries)
        self._listeners.append(metrics.set_source_state)
        self._add(metrics)
        self._serve_page(stream, deliveries, metrics)
        self._serve_metrics(metrics)

    def _add(self, sink: Sink) -> None:
        self._sinks.append(sink)
        self._cleanup.callback(sink.close)

    def _open_outputs(
        self, stream: Stream, class_names: Sequence[str] | None
    ) -> Sequence[Delivery]:
        """A thread for each output."""
        if not self._options.outputs:
            return ()
        from edgekit.board.machine import read_board
        from edgekit.outputs.delivery import OutputsSink
        from edgekit.outputs.open_output import OutputContext, open_output

        context = OutputContext(
            class_names=class_names,
            device=f"edgekit on {read_board()}",
            fps=stream.description.fps or USUAL_FPS,
            rotate_bytes=self._options.rotate_bytes,
            keep_files=self._options.keep_files,
            wait=self._options.wait,
        )
        outputs: list[Output] = []
        with ExitStack() as opened:
            for target in self._options.outputs:
                outputs.append(open_output(target, context))
                opened.callback(outputs[-1].close)
            opened.pop_all()  # their threads close them
        deliveries = OutputsSink(outputs, self._progress.note)
        self._add(deliveries)
        return deliveries.each

    def _serve_page(self, stream: Stream, deliveries: Sequence[Delivery], metrics: Metrics) -> None:
        if self._options.serve is None:
            return
        from edgekit.outputs.web_page import PageSink, serve_page

        summary = partial(stream.summary, stages=False)
        page = PageSink(summary, str(stream.description), deliveries, self._viewer_present)
        served = serve_page(page, metrics, *self._options.serve)
        self._cleanup.callback(served.close)
        self.page_url = served.url
        self._listeners.append(page.set_source_state)
        self._add(page)

    def _serve_metrics(self, metrics: Metrics) -> None:
        if self._options.metrics is None:
            return
        from edgekit.outputs.prometheus import serve_metrics

        address, port = self._options.metrics
        self._cleanup.callback(serve_metrics(metrics, address, port))
        self.metrics_url = f"http://{address}:{port}/metrics"

    def set_source_state(self, state: SourceState) -> None:
        """Show a change of the source's state on page and metrics."""
        for listener in self._listeners:
            listener(state)

    def write(self, result: Result) -> None:
        """Hand a result to every output."""
        for sink in self._sinks:
            sink.write(result)

    def close(self) -> None:
        """Let the outputs finish, and end what is served."""
        self._cleanup.close()


def _is_video(target: str) -> bool:
    from edgekit.outputs.open_output import VIDEOS

    return "://" not in target and target.lower().endswith(VIDEOS)
