"""One run: source, model, stream, filters, outputs, metrics and page, put together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from edgekit.background_thread import Background
from edgekit.board.machine import usable_cores
from edgekit.engines.base import EngineDescription
from edgekit.errors import SettingsError
from edgekit.native_libraries import load_opencv
from edgekit.progress import SILENT, Progress
from edgekit.runtime.classifier import Classifier
from edgekit.runtime.classify_frame import Result, ResultOptions
from edgekit.runtime.load_model import LoadedModel, ModelChoice, find_demo_bundle, load_model
from edgekit.runtime.result_filters import Filter, MinScore, OnChange, Smooth
from edgekit.runtime.stream import (
    Stream,
    StreamSettings,
    StreamSummary,
    close_source,
    start_opening,
)
from edgekit.runtime.systemd_notify import Notifier
from edgekit.sources.base import Source, SourceDescription
from edgekit.sources.open_source import make_source
from edgekit.sources.source_state import SourceState
from edgekit.streaming.options import RunOptions
from edgekit.streaming.run_outputs import RunOutputs

MOST_WORKERS = 8
MOST_THREADS = 4


def run_stream(
    options: RunOptions,
    *,
    stop: threading.Event | None = None,
    progress: Progress = SILENT,
    on_state_change: Callable[[SourceState], None] = lambda state: None,
) -> StreamRun:
    """Classify a camera, a stream, a video or images, as `edgekit run` does.

        for result in edgekit.run_stream(edgekit.RunOptions(model="my.edgekit", source="0")):
            print(result.prediction.label, result.prediction.score)

    The model is loaded and checked here; source and outputs are opened by `open`, or when the
    iteration begins. Everything is closed when the iteration ends or is left early. As long as the
    run lasts, OpenCV works with one thread in the whole process: frames are small, and the cores
    are busy with inference.

    Args:
        options: what to read, what to classify, and where the results go.
        stop: ends the run after the frame in hand when it is set, from any thread.
        progress: receives the steps of building an engine, and a note when an output fails or works
            again.
        on_state_change: is called when a live source is lost, frozen, or live again.

    Returns:
        The run: iterate over it once for its results.

    Raises:
        SettingsError: options that do not go together.
        SourceError: the source names nothing that exists.
        BundleError: the bundle is damaged, or gives other answers here than where it was made.
        ModelFileError: the model cannot be read or loaded.
        ImageError: the class names cannot be read.
        EngineError: TensorRT cannot build or run the engine.
        MissingPackageError: the runtime that the model needs is not installed.
    """
    cv2 = load_opencv()

    if options.show:
        from edgekit.outputs.window import check_window

        check_window()
    with ExitStack() as cleanup:
        cleanup.callback(cv2.setNumThreads, cv2.getNumThreads())
        cv2.setNumThreads(1)
        source = _make_source(options)
        # A file opens while the model loads; a camera waits until the model has proved to be sound.
        opening = None if source.is_live else start_opening(source)
        try:
            model = _load_model(options, live=source.is_live, progress=progress)
        except BaseException:
            close_source(source, opening)
            raise
        run = StreamRun(
            options,
            source,
            model,
            RunOutputs(options, progress),
            opening=opening,
            on_state_change=on_state_change,
            stop=stop or threading.Event(),
        )
        run.call_at_end(cleanup.pop_all().close)
    return run


class StreamRun:
    """A run that `run_stream` prepared. Iterate over it once; then ask for its `summary`.

    Args:
        options: what to read, what to classify, and where the results go.
        source: not open yet, or opening.
        model: loaded and checked.
        outputs: not open yet.
        opening: the thread that opens the source, when it began already.
        on_state_change: is called when a live source is lost, frozen, or live again.
        stop: ends the run when it is set.

    Attributes:
        model_path: the model's file.
        engine: what runs the model.
        workers: how many classifiers work side by side.
        notes: what a person should know about the model, line by line.
    """

    def __init__(
        self,
        options: RunOptions,
        source: Source,
        model: LoadedModel,
        outputs: RunOutputs,
        *,
        opening: Background | None,
        on_state_change: Callable[[SourceState], None],
        stop: threading.Event,
    ) -> None:
        self.model_path = model.path
        self.engine: EngineDescription = model.classifier.engine.description
        self.workers = 1 + len(model.extra_workers)
        self.notes: Sequence[str] = model.notes
        self._options = options
        self._outputs = outputs
        self._on_state_change = on_state_change
        self._notifier = Notifier()
        self._classifier = model.classifier
        self._is_open = self._is_iterated = self._is_closed = False
        self._cleanup = ExitStack()
        self._cleanup.callback(model.classifier.close)
        self._stream = Stream(
            source,
            [model.classifier],
            StreamSettings(
                ResultOptions(
                    options.top, options.region, outputs.wants_pixels, options.smooth is not None
                ),
                options.policy,
                _make_filters(options, model.classifier),
                options.frames,
            ),
            extra_workers=model.extra_workers,
            reopen=self._reopen if _may_reopen(options, source) else None,
            on_state_change=self._report_state,
            heartbeat=self._notifier.send_heartbeat,
            stop=stop,
            opening=opening,
        )
        self._notifier.notify(READY="1", STATUS=f"opening {source.describe().name}")

    @property
    def stop(self) -> threading.Event:
        """Ends the run after the frame in hand when it is set, from any thread."""
        return self._stream.stop

    @property
    def is_live(self) -> bool:
        """Whether frames come at their own pace. Certain once the run is open."""
        return self._stream.is_live

    @property
    def source(self) -> SourceDescription:
        """What the source is; complete once the run is open, at the end with what was passed
        over."""
        return self._stream.description

    @property
    def page_url(self) -> str | None:
        """Where the web page is, with its token; None without one, and before the run is open."""
        return self._outputs.page_url

    @property
    def metrics_url(self) -> str | None:
        """Where the metrics are; None without them, and before the run is open."""
        return self._outputs.metrics_url

    def open(self) -> bool:
        """Open the source, and wait for it where the options say so; then open the outputs.

        Returns:
            False when `stop` was set before the source was open.

        Raises:
            SourceError: the source cannot be opened.
            OutputError: an output cannot be opened.
            SettingsError: options that do not go with what the source turned out to be.
            MissingPackageError: the package that an output needs is not installed.
        """
        if self._is_ended() or self._is_open:
            return self._is_open
        try:
            if self._stream.open(wait=self._options.wait):
                _check_is_live(self._options, self._stream)
                classifier = self._classifier
                is_multilabel = classifier.rule.kind == "multilabel"
                self._outputs.open(self._stream, None if is_multilabel else classifier.class_names)
                self._is_open = True
        finally:
            if not self._is_open:
                self.close()
        return self._is_open

    def __iter__(self) -> Generator[Result, None, None]:
        """The results; each has been handed to the outputs. None when `stop` is set already.

        Raises what `open` raises, and SettingsError for a run that has ended.
        """
        if self._is_ended():
            return
        with self:
            if not self.open():
                return
            self._is_iterated = True
            with closing(iter(self._stream)) as results:
                for result in results:
                    self._outputs.write(result)
                    yield result

    def _is_ended(self) -> bool:
        """Whether `stop` ended it before its first result; raises SettingsError for another end."""
        if self._is_iterated or (self._is_closed and not self.stop.is_set()):
            raise SettingsError(
                f"this run of {self.source.name} has begun or ended already: call run_stream again"
            )
        return self._is_closed

    def summary(self) -> StreamSummary:
        """What the run did so far: frames, rate, drops, and the time that each stage took."""
        return self._stream.summary()

    def close(self) -> None:
        """Close outputs, source and model, once. Iterating does it at its end."""
        if self._is_closed:
            return
        self._is_open, self._is_closed = False, True
        self._outputs.close()
        if not self._is_iterated:  # else the loop closes it
            self._stream.close_source()
        self._cleanup.close()

    def call_at_end(self, function: Callable[[], None]) -> None:
        """Call `function` when the run is closed."""
        self._cleanup.callback(function)

    def __enter__(self) -> StreamRun:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _reopen(self) -> Source:
        return _name_source(self._options)

    def _report_state(self, state: SourceState) -> None:
        self._on_state_change(state)
        self._notifier.notify(STATUS=f"source {state.name}: {state.reason}")
        self._outputs.set_source_state(state)


def _name_source(options: RunOptions) -> Source:
    return make_source(
        options.source,
        options.requested_format,
        every_s=options.policy.every_s,
        strict=options.strict,
    )


def _make_source(options: RunOptions) -> Source:
    """The source, not open yet; a video at its own speed where its newest frame is asked for."""
    source = _name_source(options)
    if source.is_live:
        return source
    live_only = {
        "--wait": options.wait,
        "--once": not options.reopen,
        "--max-age": options.policy.max_age_s is not None,
    }
    is_paced = options.policy.kind == "latest"
    if is_paced and source.describe().kind != "video":
        raise SettingsError(
            f"--policy latest is for what has a speed of its own, and {source.describe().name} is"
            " images: leave it out"
        )
    for option, is_given in live_only.items():
        if is_given and not is_paced:
            raise SettingsError(
                f"{option} is for cameras and streams, and {options.source} is a file: leave it out"
            )
    if not is_paced:
        return source
    from edgekit.sources.paced import PacedSource

    return PacedSource(source)


def _may_reopen(options: RunOptions, source: Source) -> bool:
    """Whether a lost source is opened again: not a video that is played at its own speed."""
    return options.reopen and source.describe().kind != "video"


def _check_is_live(options: RunOptions, stream: Stream) -> None:
    """Raise SettingsError where a URL turns out to be that of a film, whose frames all come as fast
    as they can, and the options are for live sources."""
    wants_live = options.policy.max_age_s is not None or options.policy.kind == "latest"
    if wants_live and not stream.is_live:
        raise SettingsError(
            f"{stream.description.name} is a film: leave --policy latest and --max-age out, or"
            " download it, which then plays at its own speed"
        )


def _load_model(options: RunOptions, *, live: bool, progress: Progress) -> LoadedModel:
    """A worker a core for files, one engine with several threads for a live source."""
    choice = ModelChoice(
        find_demo_bundle() if options.model is None else Path(options.model),
        None if options.class_names is None else Path(options.class_names),
        options.resize,
        options.normalization,
        options.scores,
        options.threshold,
    )
    cores = usable_cores()
    if live:
        threads = options.threads or min(cores, MOST_THREADS)
        return load_model(choice, threads=threads, progress=progress)
    workers = options.threads or min(cores, MOST_WORKERS)
    return load_model(choice, workers=workers, progress=progress)


def _make_filters(options: RunOptions, classifier: Classifier) -> list[Filter]:
    """What happens to results before they are reported, in order."""
    filters: list[Filter] = []
    if options.smooth is not None:
        filters.append(Smooth(options.smooth, classifier, options.top))
    if options.min_score is not None:
        filters.append(MinScore(options.min_score))
    if options.on_change:
        filters.append(OnChange())
    return filters
