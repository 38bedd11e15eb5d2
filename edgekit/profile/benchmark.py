"""Runs a benchmark. In: models and a source of frames. Out: one `Report`.

Each model runs in a process of its own. The models take turns (A B A B), so that a change of the
machine affects all of them; the sensors are read here, outside the measured processes.
"""

from __future__ import annotations

import contextlib
import datetime
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from edgekit.board.conditions import (
    CpuShare,
    CpuTimes,
    Snapshot,
    mean_share,
    share_cpu,
)
from edgekit.board.machine import (
    Device,
    read_device,
    read_timer,
    usable_cores,
)
from edgekit.board.peak_throughput import peak_multiply_adds
from edgekit.board.process_usage import Usage
from edgekit.board.sensors import Sampler, Sensors
from edgekit.errors import ImageError, ModelFileError, SourceError
from edgekit.profile.record import (
    ColdStart,
    Conditions,
    ModelResult,
    Report,
    Settings,
    ThreadPoint,
)
from edgekit.profile.results import Turns, conclude, distribution_of
from edgekit.profile.trust import judge
from edgekit.profile.worker_process import MeasuredProcess
from edgekit.profile.worker_protocol import (
    AskMemory,
    Evaluate,
    Layered,
    Load,
    Settle,
    Timed,
    TimeLayers,
    TimeLoop,
    TimeModel,
)
from edgekit.progress import SILENT, Progress
from edgekit.resources import demo_video
from edgekit.spec import Scores

DEFAULT_DURATION_S = 8.0
DEFAULT_HALF_WIDTH = 0.005
"""Medians known to ±0.5 % end a run that was given no duration."""
DEFAULT_LIMIT_S = 36.0
"""How long a run that was given no duration may take a model, its report apart."""
_ROUNDS_END = 0.7
_THREADS_END = 0.85
"""Shares of that time: what has not begun by then is left out."""
_LEFT_OUT = "left out, the time was up: give --duration to have it measured"
_ROUND_S = 2.0
_FEWEST_ROUNDS = 3
_COLD_STARTS = 3
_COLD_STARTS_LIMIT_S = 6.0
_WARMUP_LIMIT_S = 5.0
_THREAD_SHARE = 0.1
_THREADS_LIMIT_S = 1.0
_LAYERS_SHARE = 0.25
_LAYERS_LIMIT_S = 2.0
_KEPT_SNAPSHOTS = 240


class LabelledFolder(NamedTuple):
    """Images to measure accuracy on; without `labels`, class subfolders are the labels. With
    `strict` the first image that cannot be read is an error."""

    images: Path
    labels: Path | None
    strict: bool = False


class _Moment(NamedTuple):
    """Clock, our CPU time and that of the whole machine, in seconds."""

    time_s: float
    own_s: float
    cores: CpuTimes | None


class BenchmarkSettings(NamedTuple):
    """What is measured, and for how long.

    Attributes:
        models: Bundles or plain model files, which take turns.
        source: Where the loop's frames come from, as `edgekit.open_source` takes it.
        duration_s: How long the model alone is measured at most, and again the loop, for each
            model.
        threads: How many cores one inference uses.
        half_width: The run ends earlier, after three rounds or more, once the 95 % interval of
            every median is within this fraction of it; None for never.
        limit_s: How long the run should take for each model. A slow model gets three rounds, then
            fewer thread counts and no layers. None for no limit.
        images: Images to measure accuracy on, after everything else.
        scores: What the output of a plain .tflite file means; None for what its last operator says.
    """

    models: tuple[Path, ...]
    source: str
    duration_s: float = DEFAULT_DURATION_S
    threads: int = 1
    half_width: float | None = None
    limit_s: float | None = None
    images: LabelledFolder | None = None
    scores: Scores | None = None


def benchmark(
    models: Sequence[Path | str] | Path | str = (),
    *,
    source: str | None = None,
    duration_s: float | None = None,
    threads: int = 1,
    scores: Scores | None = None,
    images: Path | str | None = None,
    labels: Path | str | None = None,
    strict: bool = False,
    progress: Progress = SILENT,
) -> Report:
    """Measure latency, throughput, cold start and memory of models on this machine.

    Each model runs in a process of its own, and the models take turns.

    Args:
        models: Bundles or plain .tflite files; none for the demo's bundle.
        source: Frames for the loop, as `edgekit.open_source` takes it; None for the demo's video.
        duration_s: How long the model alone is measured, and again the loop, for each model.
            Without it the run ends once every median is known to ±0.5 %, after 36 s at the latest.
        threads: How many cores one inference uses.
        scores: What the output of a plain .tflite file means; None for what its last operator says.
        images: A folder of labelled images, to measure accuracy too.
        labels: A CSV file with a header `file,label`; without it, the folders that the images are
            in are named after their classes.
        strict: The first image that cannot be read is an error, instead of passed over.
        progress: Receives each step as it begins.

    Returns:
        The record of the benchmark, which says whether its figures can be trusted.

    Raises:
        ModelFileError: A model cannot be read or loaded.
        BundleError: A bundle is damaged.
        SourceError: The source cannot be opened, or cannot serve several models.
        ImageError: The images or labels cannot be read, or do not fit the model.
        ReportError: A measured process ended early.
    """
    from edgekit.runtime.load_model import find_demo_bundle  # OpenCV: not in every run

    chosen = (models,) if isinstance(models, (Path, str)) else models
    settings = BenchmarkSettings(
        models=tuple(map(Path, chosen)) or (find_demo_bundle(),),
        source=source or str(demo_video()),
        threads=threads,
        images=_check_images(images, labels, strict),
        scores=scores,
    )
    if duration_s is None:
        settings = settings._replace(half_width=DEFAULT_HALF_WIDTH, limit_s=DEFAULT_LIMIT_S)
    else:
        settings = settings._replace(duration_s=duration_s)
    return Benchmark(settings, progress=progress).run()


def _check_images(
    images: Path | str | None, labels: Path | str | None, strict: bool
) -> LabelledFolder | None:
    """Look for both before anything is measured. Raises ImageError."""
    if images is None:
        return None
    folder = LabelledFolder(Path(images), None if labels is None else Path(labels), strict)
    if not folder.images.is_dir():
        raise ImageError(f"{images} is not a folder of images: give a folder that exists")
    if folder.labels is not None and not folder.labels.is_file():
        raise ImageError(f"cannot read labels {labels}: give a CSV file that exists")
    return folder


class Benchmark:
    """One benchmark, from its first process to its report.

    Args:
        settings: What is measured, and for how long.
        progress: Receives each step as it begins.
        sensors: What reads the machine's conditions; None for this machine's sensors.

    Raises:
        ModelFileError, SourceError, ImageError: A name cannot be passed on, or the source cannot
            serve several models.
    """

    def __init__(
        self,
        settings: BenchmarkSettings,
        *,
        progress: Progress = SILENT,
        sensors: Sensors | None = None,
    ) -> None:
        _check_names(settings)
        _check_source(settings)
        self._settings = settings
        limit_s = float("inf") if settings.limit_s is None else settings.limit_s
        self._limit_s = limit_s * len(settings.models)
        self._began_s = time.monotonic()
        self._progress = progress
        self._sensors = sensors or Sensors()
        self._rounds = max(1, round(settings.duration_s / _ROUND_S))
        self._shares: list[CpuShare] = []
        self._elsewhere: dict[str, list[CpuShare]] = {}
        self._pauses: list[Snapshot] = []

    def run(self) -> Report:
        """Measure. Raises the EdgekitError of a model or source that cannot be used."""
        timer = read_timer()
        self._began_s = time.monotonic()
        before = self._sensors.read()
        with contextlib.ExitStack() as processes:
            with Sampler(self._sensors) as sampler:
                subjects = [self._start(model, processes) for model in self._settings.models]
                self._measure(subjects)
                for subject in subjects:
                    self._finish(subject)
            after = self._sensors.read()
            if self._settings.images is not None:
                for subject in subjects:
                    self._evaluate(subject, self._settings.images)
        sorted_snapshots = sorted([*sampler.snapshots, *self._pauses], key=lambda s: s.time_s)
        conditions = Conditions(
            before=before,
            during=_thin(sorted_snapshots),
            after=after,
            cpu=mean_share(self._shares),
            cpu_elsewhere={what: mean_share(shares) for what, shares in self._elsewhere.items()},
        )
        device = read_device(subjects[0].process.loaded.packages)
        results = tuple(self._conclude(subject, device, sorted_snapshots) for subject in subjects)
        reasons = judge(conditions, results, device.cores)
        return Report(
            created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            device=device,
            conditions=conditions,
            settings=Settings(
                duration_s=self._settings.duration_s,
                threads=self._settings.threads,
                rounds=len(subjects[0].model),
                half_width=self._settings.half_width,
                source=subjects[0].process.loaded.source,
                timer=timer,
            ),
            results=results,
            trusted=not reasons,
            reasons=reasons,
        )

    def _conclude(
        self, subject: Turns, device: Device, snapshots: Sequence[Snapshot]
    ) -> ModelResult:
        result = conclude(subject, self._sensors.began_ns, snapshots)
        limits = [s.clock_limit_mhz for s in snapshots if s.clock_limit_mhz is not None]
        peak = peak_multiply_adds(
            device.cpu,
            max(limits, default=None),
            min(result.engine.threads, device.cores),
            result.model.precision,
        )
        return msgspec.structs.replace(result, multiply_adds_peak_per_s=peak)

    def _start(self, model: Path, processes: contextlib.ExitStack) -> Turns:
        """Start the process several times for its cold start; the last one stays."""
        self._progress.step(f"{model.name}: cold start")
        asked = self._settings
        load = Load(
            model=str(model), source=asked.source, threads=asked.threads, scores=asked.scores
        )
        starts: dict[float, ColdStart] = {}
        while True:
            began = self._moment()
            process = MeasuredProcess(load)
            self._note_share("cold_start", began, process.used)
            starts[process.cold_start_s] = process.cold_start
            if len(starts) == _COLD_STARTS or sum(starts) > _COLD_STARTS_LIMIT_S:
                processes.enter_context(process)
                self._check_labels(process)
                middle = statistics.median_low(starts)
                return Turns(process, tuple(starts), starts[middle])
            process.close()

    def _measure(self, subjects: Sequence[Turns]) -> None:
        for subject in subjects:
            self._progress.step(f"{subject.name}: warm-up")
            limit_s = min(_WARMUP_LIMIT_S, max(1.0, self._settings.duration_s))
            subject.warmup = subject.process.ask(Settle(limit_s=limit_s)).warmup
        seconds = self._settings.duration_s / self._rounds
        for number in range(1, self._rounds + 1):
            for subject in subjects:
                self._progress.step(f"{subject.name}: round {number} of {self._rounds}")
                subject.model.append(self._time(subject, TimeModel(seconds=seconds)))
                subject.loop.append(self._time(subject, TimeLoop(seconds=seconds)))
            self._pauses.append(self._sensors.read())
            enough = self._precise(subjects) or self._is_late(_ROUNDS_END)
            if number >= _FEWEST_ROUNDS and enough:
                break

    def _precise(self, subjects: Sequence[Turns]) -> bool:
        if self._settings.half_width is None:
            return False
        return all(subject.half_width() <= self._settings.half_width for subject in subjects)

    def _is_late(self, share: float) -> bool:
        """Whether this share of the time that the run should take is over."""
        return time.monotonic() - self._began_s > share * self._limit_s

    def _time(self, subject: Turns, request: TimeModel | TimeLoop) -> Timed:
        """Take one turn, and record who else used the cores while it lasted."""
        began = self._moment()
        timed = subject.process.ask(request)
        self._shares.append(self._share_since(began, subject.process.used))
        return timed

    @contextlib.contextmanager
    def _watch(self, what: str, process: MeasuredProcess) -> Iterator[None]:
        """Record who else used the cores while `process` answered a request outside the rounds."""
        began = self._moment()
        yield
        self._note_share(what, began, process.used)

    def _note_share(self, what: str, began: _Moment, used: Usage) -> None:
        self._elsewhere.setdefault(what, []).append(self._share_since(began, used))

    def _moment(self) -> _Moment:
        return _Moment(time.monotonic(), time.process_time(), self._sensors.cpu_times())

    def _share_since(self, began: _Moment, used: Usage) -> CpuShare:
        """Who used the cores since `began`; `used` is what the measured process did."""
        now = self._moment()
        return share_cpu(
            began.cores,
            now.cores,
            elapsed_s=now.time_s - began.time_s,
            own_s=used.cpu_s + now.own_s - began.own_s,
            waited_s=used.waited_s,
        )

    def _finish(self, subject: Turns) -> None:
        """Measure what is outside the rounds; peak memory first, since other engines add to it."""
        process = subject.process
        subject.peak_bytes = process.ask(AskMemory()).peak_bytes
        seconds = min(_THREADS_LIMIT_S, self._settings.duration_s * _THREAD_SHARE)
        on_gpu = process.loaded.engine.gpu is not None
        for threads in () if on_gpu else count_threads(usable_cores()):
            if self._is_late(_THREADS_END):
                subject.threads_unknown = _LEFT_OUT
                break
            self._progress.step(f"{subject.name}: {threads} thread{'s' if threads > 1 else ''}")
            with self._watch("threads", process):
                timed = process.ask(TimeModel(seconds=seconds, threads=threads))
            point = ThreadPoint(threads=threads, latency_ms=distribution_of(timed))
            subject.threads.append(point)
        if self._is_late(1.0):
            subject.layered = Layered(unknown=_LEFT_OUT)
            return
        self._progress.step(f"{subject.name}: layers")
        seconds = min(_LAYERS_LIMIT_S, self._settings.duration_s * _LAYERS_SHARE)
        with self._watch("layers", process):
            subject.layered = process.ask(TimeLayers(seconds=seconds))

    def _check_labels(self, process: MeasuredProcess) -> None:
        """Before anything is measured. Raises ImageError for labels that do not fit the model."""
        if self._settings.images is not None:
            from edgekit.images import find_labelled_images  # OpenCV: not in every run

            folder, loaded = self._settings.images, process.loaded
            find_labelled_images(
                folder.images,
                folder.labels,
                loaded.class_names,
                multilabel=loaded.answer == "multilabel",
                strict=folder.strict,
            )

    def _evaluate(self, subject: Turns, folder: LabelledFolder) -> None:
        self._progress.step(f"{subject.name}: accuracy on {folder.images.name}")
        labels = str(folder.labels) if folder.labels else None
        request = Evaluate(images=str(folder.images), labels=labels, strict=folder.strict)
        evaluated = subject.process.ask(request)
        subject.accuracy = evaluated.accuracy
        for line in evaluated.left_out:
            self._progress.note(line)


def _list_paths(folder: LabelledFolder | None) -> list[Path]:
    return [path for path in (folder.images, folder.labels) if path] if folder else []


def _check_names(settings: BenchmarkSettings) -> None:
    """Names go to the measured process as JSON. Raises ModelFileError, SourceError, ImageError."""
    for kind, error, name in (
        *(("model", ModelFileError, str(model)) for model in settings.models),
        ("source", SourceError, settings.source),
        *(("images", ImageError, str(path)) for path in _list_paths(settings.images)),
    ):
        try:
            name.encode()
        except UnicodeEncodeError as reason:
            raise error(
                f"the name of the {kind} {name!a} is not UTF-8: expected UTF-8, rename it"
            ) from reason


def _check_source(settings: BenchmarkSettings) -> None:
    """A camera serves one process at a time. Raises SourceError."""
    models, source = settings.models, settings.source
    if len(models) > 1 and (source.isdecimal() or source.startswith(("/dev/", "csi://"))):
        raise SourceError(
            f"camera {source} cannot serve {len(models)} models at once: benchmark them one by one,"
            " or record a video and give it with --source"
        )


def count_threads(cores: int) -> list[int]:
    """The thread counts worth a line: each up to 4, then doubling, and all cores."""
    counts = [count for count in (1, 2, 3, 4, 8, 16, 32, 64, 128) if count < cores]
    return [*counts, cores]


def _thin(snapshots: Sequence[Snapshot]) -> tuple[Snapshot, ...]:
    """Every n-th of many snapshots, but each one on which a throttling bit was on."""
    step = -(-len(snapshots) // _KEPT_SNAPSHOTS) or 1
    return tuple(
        snapshot
        for index, snapshot in enumerate(snapshots)
        if index % step == 0 or (snapshot.throttled or 0) & 0xF
    )
