"""What a run is to do, in one record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgekit.errors import SettingsError
from edgekit.runtime.classifier import TOP_CLASSES
from edgekit.runtime.classify_frame import Region
from edgekit.runtime.frame_policy import FramePolicy
from edgekit.sources.base import ANY_FORMAT, RequestedFormat
from edgekit.spec import Normalization, Record, Resize, Scores

Address = tuple[str, int]
"""Where to listen: an address of this machine, and a port."""


class RunOptions(Record, frozen=True, kw_only=True):
    """What a run reads, which frames it classifies and how, and where the results go.

    Raises SettingsError for a value out of its range.

    Attributes:
        source: a camera number or device, a URL (`rtsp://`, `http://`, `csi://0`, `test://`), a
            video, an image, or a folder or pattern (`photos/*.jpg`) of images.
        model: a bundle, or a plain .tflite file; None for the demo's bundle.
        class_names: a file with one name a line, for a plain .tflite file.
        resize: how a frame is fitted to the input of a plain .tflite file; None for `stretch`.
        normalization: what a float input of a plain .tflite file expects; None for `tf`.
        scores: what the output of a plain .tflite file means; None for what its last operator says.
        threshold: the score, between 0 and 1, from which a class of its own sigmoid is the answer;
            None for the bundle's own, of a plain .tflite file 0.5.
        threads: cores to use, as workers for files and as inference threads for live sources; None
            for what suits this machine.
        requested_format: size and rate that a camera is asked for.
        wait: wait for a camera or stream that is not there at the start.
        reopen: open a camera or stream again when it is lost, else that ends the run.
        policy: which frames are classified.
        frames: end after so many classified frames.
        region: the part of each frame that is classified; None for the whole frame.
        top: how many classes a result holds.
        smooth: weight of the newest frame, above 0 to 1, when scores are averaged over frames.
        min_score: report only results whose best class has this score or more, 0 to 1.
        on_change: report only results with another answer than the one before.
        outputs: FILE.jsonl, FILE.csv, FILE.mp4 (annotated video), `mqtt[s]://USER:PASSWORD@HOST/
            TOPIC` and `http[s]://HOST/PATH`, any number of them.
        rotate_bytes: begin a new file of an output at this size.
        keep_files: how many earlier files of an output are kept.
        serve: where to serve a web page with the picture, the answers, and metrics.
        metrics: where to serve Prometheus metrics.
        show: show the frames in a window.
        strict: of a folder of images, end at the first that cannot be read.
    """

    source: str = "0"
    model: Path | str | None = None
    class_names: Path | str | None = None
    resize: Resize | None = None
    normalization: Normalization | None = None
    scores: Scores | None = None
    threshold: float | None = None
    threads: int | None = None
    requested_format: RequestedFormat = ANY_FORMAT
    wait: bool = False
    reopen: bool = True
    policy: FramePolicy = FramePolicy()
    frames: int | None = None
    region: Region | None = None
    top: int = TOP_CLASSES
    smooth: float | None = None
    min_score: float | None = None
    on_change: bool = False
    outputs: tuple[str, ...] = ()
    rotate_bytes: int = 100_000_000
    keep_files: int = 5
    serve: Address | None = None
    metrics: Address | None = None
    show: bool = False
    strict: bool = False

    def __post_init__(self) -> None:
        for name, expected in self._find_faults():
            raise SettingsError(f"{name} is {getattr(self, name)!r}: expected {expected}")

    def _find_faults(self) -> Iterator[tuple[str, str]]:
        """The fields that are out of their range, and what is expected of them."""
        for name, least in {"threads": 1, "frames": 1, "top": 1, "keep_files": 0}.items():
            value = getattr(self, name)
            if value is not None and value < least:
                yield name, f"{least} or more"
        if self.rotate_bytes <= 0:
            yield "rotate_bytes", "more than 0"
        if self.smooth is not None and not 0 < self.smooth <= 1:
            yield "smooth", "a weight above 0, 1 at most"
        if self.threshold is not None and not 0 < self.threshold < 1:
            yield "threshold", "a score above 0 and below 1"
        if self.min_score is not None and not 0 <= self.min_score <= 1:
            yield "min_score", "a score from 0 to 1"
        for name in ("serve", "metrics"):
            address = getattr(self, name)
            if address is not None and not 0 < address[1] < 65536:
                yield name, "an address and a port, such as ('127.0.0.1', 8080)"
