"""The messages between the benchmark and the process that it measures: one JSON line each way.

In: a request, which names what to time or to read. Out: its reply, with what the process used for
it. Every request has one type of reply; `Failed` may come in place of any.
"""

from __future__ import annotations

import msgspec

from edgekit.board.process_usage import Usage, read_usage
from edgekit.engines.base import EngineDescription
from edgekit.profile.record import (
    GraphCost,
    LayerTimes,
    MeasuredModel,
    WarmUp,
)
from edgekit.spec import Accuracy, AnswerKind, Record, Scores


class Load(Record, frozen=True, kw_only=True, tag="load"):
    """Open the model and the source, and classify one frame. Answered by `Loaded`."""

    model: str
    source: str
    threads: int
    scores: Scores | None = None


class Settle(Record, frozen=True, kw_only=True, tag="settle"):
    """Run the model alone until its latency is stable. Answered by `Settled`."""

    limit_s: float


class TimeModel(Record, frozen=True, kw_only=True, tag="time_model"):
    """Run the model alone; with `threads`, on an engine of its own. Answered by `Timed`."""

    seconds: float
    threads: int | None = None


class TimeLoop(Record, frozen=True, kw_only=True, tag="time_loop"):
    """Run the loop over the source, one thread, stage after stage. Answered by `Timed`."""

    seconds: float


class AskMemory(Record, frozen=True, kw_only=True, tag="ask_memory"):
    """Read how much memory the process has held at most. Answered by `Memory`."""


class TimeLayers(Record, frozen=True, kw_only=True, tag="time_layers"):
    """Time the model's pieces, and count its multiply-adds. Answered by `Layered`."""

    seconds: float


class Evaluate(Record, frozen=True, kw_only=True, tag="evaluate"):
    """Classify labelled images. Answered by `Evaluated`."""

    images: str
    labels: str | None
    strict: bool = False


class Marks(Record, frozen=True, kw_only=True):
    """When each part of a start was done, on the monotonic clock in ns, in this order."""

    process: int
    load: int
    source: int
    first_result: int


class Loaded(Record, frozen=True, kw_only=True, tag="loaded"):
    """The first result is out. `source` describes where the frames come from, `class_names` are
    in class order, `answer` says how scores become an answer."""

    model: MeasuredModel
    engine: EngineDescription
    source: str
    class_names: tuple[str, ...]
    answer: AnswerKind = "best"
    packages: dict[str, str]
    marks_ns: Marks


class Settled(Record, frozen=True, kw_only=True, tag="settled"):
    """The answer to `Settle`."""

    warmup: WarmUp


class Timed(Record, frozen=True, kw_only=True, tag="timed"):
    """Laps in ns, in the order they were run: of the model, or of each stage of the loop.

    `began_ns` and `ended_ns` are readings of the monotonic clock, which processes share.
    """

    began_ns: int
    ended_ns: int
    laps_ns: dict[str, list[int]]


class Memory(Record, frozen=True, kw_only=True, tag="memory"):
    """The answer to `AskMemory`."""

    peak_bytes: int


class Layered(Record, frozen=True, kw_only=True, tag="layered"):
    """The model's cost and time by layer; None where they are not known, `unknown` says why."""

    graph: GraphCost | None = None
    layers: LayerTimes | None = None
    unknown: str | None = None


class Evaluated(Record, frozen=True, kw_only=True, tag="evaluated"):
    """The answer to `Evaluate`; `left_out` says which files were not classified."""

    accuracy: Accuracy
    left_out: tuple[str, ...] = ()


class Failed(Record, frozen=True, kw_only=True, tag="failed"):
    """An EdgekitError: its class name and its one line."""

    error: str
    message: str


WorkerRequest = Load | Settle | TimeModel | TimeLoop | AskMemory | TimeLayers | Evaluate
WorkerReply = Loaded | Settled | Timed | Memory | Layered | Evaluated
REPLIES: dict[type[WorkerRequest], type[WorkerReply]] = {
    Load: Loaded,
    Settle: Settled,
    TimeModel: Timed,
    TimeLoop: Timed,
    AskMemory: Memory,
    TimeLayers: Layered,
    Evaluate: Evaluated,
}


class Answer(Record, frozen=True, kw_only=True):
    """A reply, and what the worker used from the request to it; for the first one, since its
    process began."""

    reply: WorkerReply | Failed
    used: Usage


_REQUESTS = msgspec.json.Decoder(WorkerRequest)
_ANSWERS = msgspec.json.Decoder(Answer)

encode = msgspec.json.encode


def decode_request(line: bytes) -> WorkerRequest:
    """Decode one line that the worker reads."""
    request: WorkerRequest = _REQUESTS.decode(line)
    return request


def encode_answer(reply: WorkerReply | Failed, before: Usage) -> bytes:
    """One line of JSON. The time that encoding takes is part of `used`."""
    encoded = encode(reply)
    used = encode(read_usage().since(before))
    return b'{"reply":%b,"used":%b}\n' % (encoded, used)


def decode_answer(line: bytes) -> Answer:
    """Decode one line that the worker wrote."""
    answer: Answer = _ANSWERS.decode(line)
    return answer
