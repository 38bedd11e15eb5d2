"""The record of a benchmark: what `report.json` holds, and what every report is drawn from.

`Report` is versioned by `schema`. Keys are only ever added within a version; unknown keys are
ignored on reading, so an older edgekit opens a newer record of its version. Records of schema 1
still open: what they did not hold is None or empty. Times named `_ms` are
milliseconds, `_s` seconds since the run began unless they are durations.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from edgekit.board.conditions import CpuShare, Snapshot
from edgekit.board.machine import Device, Timer
from edgekit.board.power import RailPower
from edgekit.engines.base import EngineDescription
from edgekit.errors import ReportError
from edgekit.profile.statistics import Distribution, Interval
from edgekit.runtime.stage_clock import StageSummary
from edgekit.spec import (
    Accuracy,
    Channels,
    Count,
    NotNegative,
    Positive,
    PositiveCount,
    Record,
    RelativeChange,
)

SCHEMA_VERSION = 2
_READABLE = (1, 2)
RECORD_NAME = "report.json"
_FILLED = msgspec.Meta(min_length=1)


class MeasuredModel(Record, frozen=True, kw_only=True):
    """Which model ran. `sha256` is that of the model itself, not of the bundle around it.

    `input_channels` is 3 for RGB, 1 for grayscale. `reading` says how its output is read.
    """

    name: str
    file: str
    sha256: str
    size_bytes: Count
    input_height: Count
    input_width: Count
    classes: Count
    input_channels: Channels = 3
    reading: str | None = None
    family: str | None = None
    precision: str | None = None
    multiply_adds: Count | None = None


class GraphCost(Record, frozen=True, kw_only=True):
    """Multiply-adds of the graph's convolutions and linear layers, and those a delegate runs."""

    multiply_adds: Count
    delegated: Count


class ColdStart(Record, frozen=True, kw_only=True):
    """One start of a process, in seconds: its parts, which add up to the whole.

    `process` is Python and its imports, `load` the model read, checked and made ready, `source`
    the source opened, `first_result` its first frame read and classified.
    """

    process_s: Positive
    load_s: NotNegative
    source_s: NotNegative
    first_result_s: NotNegative


class WarmUp(Record, frozen=True, kw_only=True):
    """The runs before the measured ones, kept apart. `stable` says whether the rule was met."""

    rule: str
    runs: Count
    seconds: NotNegative
    stable: bool


class Chunk(Record, frozen=True, kw_only=True):
    """Latencies measured in one go, the first of which began at `start_s`.

    Of each `stride` runs in a row one is kept. `longest` are the longest of the others, as
    (number of the run, ms) in the order of the runs.
    """

    start_s: NotNegative
    duration_s: NotNegative
    stride: PositiveCount
    latency_ms: Annotated[tuple[Positive, ...], _FILLED]
    longest: tuple[tuple[Count, Positive], ...] = ()

    def count_beyond(self, limit_ms: float) -> int:
        """How many runs took longer: exactly where `longest` reaches down to the limit."""
        kept = sum(ms > limit_ms for ms in self.latency_ms)
        others = sum(ms > limit_ms for _, ms in self.longest)
        known = kept + others
        return known if others < len(self.longest) else max(known, kept * self.stride)


class ThreadPoint(Record, frozen=True, kw_only=True):
    """The model alone with another number of threads."""

    threads: PositiveCount
    latency_ms: Distribution


class ModelResult(Record, frozen=True, kw_only=True):
    """What was measured of one model.

    `model_ms` is the model alone; `frame_ms` the loop over all stages, frame by frame.
    """

    model: MeasuredModel
    engine: EngineDescription
    warmup: WarmUp
    model_ms: Distribution
    model_drift: RelativeChange
    model_samples: Annotated[tuple[Chunk, ...], _FILLED]
    stages_ms: Annotated[dict[str, StageSummary], _FILLED]
    frame_ms: Distribution
    frame_samples: Annotated[tuple[Chunk, ...], _FILLED]
    throughput_fps: Positive
    cold_start_s: Positive
    cold_starts_s: Annotated[tuple[Positive, ...], _FILLED]
    memory_peak_bytes: PositiveCount
    threads: tuple[ThreadPoint, ...]
    multiply_adds_per_s: Positive | None = None
    multiply_adds_peak_per_s: Positive | None = None
    model_p50_interval_ms: Interval | None = None
    frame_p50_interval_ms: Interval | None = None
    cold_start: ColdStart | None = None
    """The start whose time is nearest to the median."""
    graph: GraphCost | None = None
    layers: LayerTimes | None = None
    layers_unknown: str | None = None
    """Why there is no time by layer."""
    threads_unknown: str | None = None
    """Why some numbers of threads were not tried."""
    model_power: tuple[RailPower, ...] = ()
    """By rail, while the model ran alone."""
    frame_power: tuple[RailPower, ...] = ()
    """By rail, while the whole loop ran."""
    accuracy: Accuracy | None = None


class Conditions(Record, frozen=True, kw_only=True):
    """The sensors before, during and after, and how the cores were shared while measuring.

    `cpu` is of the rounds, `cpu_elsewhere` of what is measured outside them, all models together:
    `cold_start`, `threads` and `layers`.
    """

    before: Snapshot
    during: tuple[Snapshot, ...]
    after: Snapshot
    cpu: CpuShare
    cpu_elsewhere: dict[str, CpuShare] = msgspec.field(default_factory=dict)

    @property
    def snapshots(self) -> tuple[Snapshot, ...]:
        return (self.before, *self.during, self.after)


class Settings(Record, frozen=True, kw_only=True):
    """What was asked for. `duration_s` is the time for the model alone, and again for the loop."""

    duration_s: Positive
    threads: PositiveCount
    rounds: Count
    source: str
    timer: Timer
    half_width: NotNegative | None = None
    """The run was to end once every median's 95 % interval lay within this share of it."""


class Report(Record, frozen=True, kw_only=True):
    """One benchmark: the machine, its conditions, one result a model, and whether to believe it."""

    schema: int = SCHEMA_VERSION
    created: str
    device: Device
    conditions: Conditions
    settings: Settings
    results: Annotated[tuple[ModelResult, ...], _FILLED]
    trusted: bool
    reasons: tuple[str, ...]

    @property
    def gpu(self) -> str | None:
        """The NVIDIA GPU that ran the models, where one did."""
        return self.results[0].engine.gpu


class BoardEntry(Record, frozen=True, kw_only=True):
    """One board's report, or why there is none. `host` is its name for ssh."""

    host: str
    report: Report | None
    error: str | None = None
    notes: tuple[str, ...] = ()
    """The warnings of the board's doctor."""


class BoardsReport(Record, frozen=True, kw_only=True):
    """The same benchmark on several boards."""

    schema: int = SCHEMA_VERSION
    kind: Literal["boards"] = "boards"
    created: str
    boards: Annotated[tuple[BoardEntry, ...], _FILLED]


def to_document(report: Report | BoardsReport) -> dict[str, Any]:
    """The JSON document: the record, with the first model's headline figures also at the top; of
    several boards, each board's document as it would be by itself."""
    document: dict[str, Any] = msgspec.to_builtins(report)
    if isinstance(report, BoardsReport):
        for entry, board in zip(document["boards"], report.boards, strict=True):
            entry["report"] = to_document(board.report) if board.report else None
        return document
    first = document["results"][0]
    for key in ("stages_ms", "throughput_fps", "memory_peak_bytes", "cold_start_s"):
        document[key] = first[key]
    return document


def encode_report(report: Report | BoardsReport) -> bytes:
    """Encode a report as the bytes of its `report.json`."""
    return msgspec.json.encode(to_document(report)) + b"\n"


def read_report(path: Path) -> Report:
    """Read a record, or the one in a folder that `edgekit benchmark` wrote.

    Raises ReportError when it is missing, cut short, not a record, of several boards, or of
    another version.
    """
    content, name = _read(path)
    return decode_report(content, name)


def read_any_report(path: Path) -> Report | BoardsReport:
    """`read_report` for a record of one board or of several."""
    content, name = _read(path)
    return _decode(content, name)


def decode_report(content: bytes, name: str) -> Report:
    """The record in `content`, called `name` in errors. Raises ReportError."""
    report = _decode(content, name)
    if isinstance(report, BoardsReport):
        folders = ", ".join(folder_name(entry.host) for entry in report.boards if entry.report)
        raise ReportError(
            f"{name} holds {len(report.boards)} boards: give the record of one, in the folder of"
            f" its name beside it ({folders})"
        )
    return report


def folder_name(host: str) -> str:
    """A host as the name of a folder that every file system takes and no report uses."""
    name = re.sub(r"[^\w.@-]", "_", host).lstrip(".-") or "board"
    return f"{name}_" if name.startswith("report.") else name


def _read(path: Path) -> tuple[bytes, str]:
    if path.is_dir():
        path = path / RECORD_NAME
    try:
        return path.read_bytes(), str(path)
    except OSError as error:
        raise ReportError(
            f"cannot read record {path}: {error.strerror}: give the folder or report.json that"
            " `edgekit benchmark -o` wrote"
        ) from error


def _decode(content: bytes, name: str) -> Report | BoardsReport:
    try:
        document = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ReportError(
            f"{name} ({len(content):,} bytes) is damaged or cut short ({error}): copy it again"
        ) from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if type(schema) is not int or schema not in _READABLE:
        raise ReportError(
            f"{name} has record schema {schema!r}, this edgekit reads {_READABLE[0]} to"
            f" {_READABLE[-1]}:"
            " expected a report.json of `edgekit benchmark`; update edgekit if a newer one wrote it"
        )
    try:
        if document.get("kind") == "boards":
            return msgspec.convert(document, type=BoardsReport)
        return msgspec.convert(document, type=Report)
    except msgspec.ValidationError as error:
        raise ReportError(
            f"{name} is not a complete benchmark record ({error}): run the benchmark again"
        ) from error


MOST_SURPLUS = 0.25
"""By which fraction the pieces may take longer than the whole and still be trusted."""


class LayerTime(Record, frozen=True, kw_only=True):
    """One piece of the model: `p50_ms` is its share of the whole, `delegated` of its adds.

    The multiply-adds are None where the runtime does not report what a piece holds.
    """

    name: str
    operators: Count
    multiply_adds: Count | None
    delegated_multiply_adds: Count | None
    p50_ms: NotNegative

    @property
    def lacks_delegate(self) -> bool:
        """Whether some of its multiply-adds are known to be done without the delegate."""
        if self.multiply_adds is None or self.delegated_multiply_adds is None:
            return False
        return self.delegated_multiply_adds < self.multiply_adds


class LayerTimes(Record, frozen=True, kw_only=True):
    """The model's time by piece. The parts add up to `whole_ms`, the median of one inference.

    `surplus` is the fraction by which the pieces took longer, before it was subtracted.
    """

    method: str
    rounds: Count
    whole_ms: Positive
    surplus: RelativeChange
    parts: Annotated[tuple[LayerTime, ...], msgspec.Meta(min_length=1)]

    @property
    def believable(self) -> bool:
        return abs(self.surplus) <= MOST_SURPLUS
