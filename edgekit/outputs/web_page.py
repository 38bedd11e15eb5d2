"""`--serve`: a web page that shows what the camera sees, the answers, and how the board is doing.

The loop writes its results into a `PageSink`; a server in one thread of its own sends them to the
viewers as two event streams. `/frames` sends a classified frame in each event, its answer together
with its picture, so that a viewer never sees the answer for one frame beside the picture of
another. `/numbers` sends rates, times and states. Viewers cost the loop a reference to its newest
frame; pictures are encoded in the server, once for all viewers, and only while somebody looks.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
from msgspec.structs import replace

from edgekit.arrays import BgrFrame
from edgekit.background_thread import Background
from edgekit.board.sensors import Sensors
from edgekit.errors import MissingPackageError, OutputError
from edgekit.native_libraries import load_opencv
from edgekit.outputs.delivery import Delivery
from edgekit.outputs.prometheus import Metrics, import_prometheus
from edgekit.outputs.result_json import ResultLine, make_line
from edgekit.runtime.classify_frame import Result
from edgekit.runtime.stage_clock import StageTimes
from edgekit.runtime.stream import StreamSummary
from edgekit.sources.source_state import SourceState

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_HTML = Path(__file__).with_name("web_page.html")
_POLICY = (
    "default-src 'none'; img-src 'self' data:; connect-src 'self'; style-src 'unsafe-inline';"
    " script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
UPDATE_S = 0.5
"""Seconds between two events with numbers."""
FRAME_S = 0.1
"""Least seconds between two events with frames."""
WIDTH = 640
"""Wider pictures are scaled down to this width."""
QUALITY = 75
MOST_CLASSES = 20
"""The page shows at most so many classes of a frame, however many `--top` asks for."""
RECENT = 12
"""The page lists this many changes of the answer."""
START_S = 5.0
END_S = 0.4
"""The server and its viewers get this long to end by themselves, then to be cut off."""
UNSENT_BYTES = 16_384
"""The kernel keeps at most so many bytes that it has not sent yet, so that a viewer on a slow
connection sees fewer frames, not old ones."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class FrameEvent(NamedTuple):
    """A classified frame as an event of `/frames`; `number` counts the events that were encoded."""

    number: int
    encoded: bytes


class PageSink:
    """Stores what the page shows.

    Args:
        summary: returns the stream's summary so far.
        source: the source's description.
        deliveries: the outputs whose state the page shows.
        viewer_present: is set while at least one viewer looks at the picture.
    """

    def __init__(
        self,
        summary: Callable[[], StreamSummary],
        source: str,
        deliveries: Sequence[Delivery],
        viewer_present: threading.Event,
    ) -> None:
        self._summary = summary
        self._source = source
        self._deliveries = deliveries
        self._viewer_present = viewer_present
        self._viewers = 0
        self._changed = threading.Lock()
        self._window: deque[tuple[StageTimes, int]] = deque(maxlen=2000)
        self._recent: deque[dict[str, Any]] = deque(maxlen=RECENT)
        self._label: str | None = None
        self._state = SourceState("live", source, 0.0)
        self._sensors = Sensors()
        self._result: Result | None = None
        self._event: FrameEvent | None = None
        self._numbers: tuple[float, dict[str, Any]] | None = None
        self._counted = (time.monotonic(), 0)
        """The time of the last count of frames, and the count."""
        self._encoding = threading.Lock()
        self._encoded: Result | None = None
        self._encoded_s = 0.0

    def write(self, result: Result) -> None:
        """Store the newest result, and its frame while somebody looks."""
        self._result = result
        self._window.append((result.times, result.age_ns))
        prediction = result.prediction
        if prediction.label != self._label:
            self._label = prediction.label
            score = prediction.score if prediction.answer else None
            self._recent.appendleft({"at": time.time(), "label": self._label, "score": score})

    def set_source_state(self, state: SourceState) -> None:
        """Store the source's new state."""
        self._state = state

    def close(self) -> None:
        """Do nothing: a sink without files or connections."""

    def add_viewer(self, count: int) -> None:
        """Add `count` viewers of the picture; a negative count removes them."""
        with self._changed:
            self._viewers += count
            (self._viewer_present.set if self._viewers else self._viewer_present.clear)()

    def numbers(self) -> dict[str, Any]:
        """Return what the page shows beside the picture, gathered once for all viewers."""
        now = time.monotonic()
        if self._numbers is None or now - self._numbers[0] > 0.8 * UPDATE_S:
            self._numbers = (now, self._gather())
        return self._numbers[1]

    def _gather(self) -> dict[str, Any]:
        window = [self._window.popleft() for _ in range(len(self._window))]
        summary, result = self._summary(), self._result
        times = np.array([times for times, _ in window], np.float64).reshape(-1, 4) / 1e6
        stages = np.median(times, axis=0).round(3).tolist() if window else None
        ages = [age_ns / 1e6 for _, age_ns in window]
        now = time.monotonic()
        rate = (summary.frames - self._counted[1]) / max(now - self._counted[0], 1e-3)
        self._counted = (now, summary.frames)
        return {
            "at": time.time(),
            "source": self._source,
            "state": {"name": self._state.name, "reason": self._state.reason},
            "line": _make_short_line(result) if result is not None else None,
            "frames": summary.frames,
            "fps": round(rate, 1),
            "left_out": {
                name: getattr(summary, name)
                for name in ("dropped", "skipped", "repeated", "too_old", "held_back")
            },
            "losses": summary.losses,
            "stages_ms": stages,
            "age_ms": round(float(np.median(ages)), 1) if ages else None,
            "temperature_c": self._sensors.read_temperature(),
            "outputs": [
                {"name": delivery.name, **delivery.counts._asdict()}
                for delivery in self._deliveries
            ],
            "recent": list(self._recent),
        }

    def frame_event(self) -> FrameEvent | None:
        """Return the newest result with the picture of its own frame, encoded once for all viewers.

        The last event is returned again until a tenth of a second has passed. None before the first
        result.
        """
        with self._encoding:
            result, now = self._result, time.monotonic()
            is_due = now - self._encoded_s >= 0.9 * FRAME_S
            if result is not None and result is not self._encoded and is_due:
                number = self._event.number + 1 if self._event else 0
                self._event = FrameEvent(number, _encode_event(result))
                self._encoded, self._encoded_s = result, now
            return self._event


def _encode_event(result: Result) -> bytes:
    """`line` holds the answer for a frame, `picture` the same frame as a data URL, or null when
    nobody looked while it was classified."""
    picture: str | None = None
    if result.pixels is not None:
        jpeg = base64.b64encode(encode_picture(result.pixels))
        picture = f"data:image/jpeg;base64,{jpeg.decode()}"
    return _make_event({"line": _make_short_line(result), "picture": picture})


def _make_short_line(result: Result) -> ResultLine:
    line = make_line(result)
    top = line.top[:MOST_CLASSES]
    if line.labels is msgspec.UNSET:
        return replace(line, top=top)
    return replace(line, top=top, labels=tuple(place for place in top if place in line.labels))


def _make_event(message: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(message) + b"\n\n"


def encode_picture(pixels: BgrFrame) -> bytes:
    """Encode a frame, `(H, W, 3) uint8` BGR 0-255, as JPEG at most `WIDTH` wide."""
    cv2 = load_opencv()

    height, width = pixels.shape[:2]
    if width > WIDTH:
        size = (WIDTH, round(height * WIDTH / width))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return bytes(encoded)


class Served:
    """A page that is served at `url`, until `close`.

    Args:
        url: the page's address, with its token.
        server: uvicorn's server.
        thread: the server's thread.
        ending: ends the streams of numbers and frames when it is set.
    """

    def __init__(self, url: str, server: Any, thread: Background, ending: threading.Event) -> None:
        self.url = url
        self._server = server
        self._thread = thread
        self._ending = ending

    def close(self) -> None:
        """Stop the server and disconnect its viewers."""
        self._ending.set()
        self._server.should_exit = True
        self._thread.join(END_S)
        if self._thread.is_alive():
            with _silence_uvicorn():
                self._server.force_exit = True
                self._thread.join(END_S)


@contextmanager
def _silence_uvicorn() -> Iterator[None]:
    """Drop its messages: it logs viewers that are cut off because they read nothing as errors."""
    logger = logging.getLogger("uvicorn.error")
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = False


def serve_page(page: PageSink, metrics: Metrics | None, address: str, port: int) -> Served:
    """Serve the page in a thread. Beyond the loopback it asks for the token that is in `url`.

    Args:
        page: stores what the page shows.
        metrics: are served at `/metrics`; None answers 404 there.
        address: the address of this machine to listen at.
        port: the TCP port.

    Returns:
        The server, until it is closed.

    Raises:
        OutputError: the port cannot be opened.
        MissingPackageError: Starlette or uvicorn is not installed.
    """
    uvicorn = _import_uvicorn()
    token = None if address in LOOPBACK else secrets.token_urlsafe(16)
    listener = _listen(address, port)
    ending = threading.Event()
    config = uvicorn.Config(
        _make_application(page, metrics, token, ending),
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
        limit_concurrency=100,
    )
    server = uvicorn.Server(config)
    thread = Background("edgekit-page", lambda: server.run(sockets=[listener]))
    thread.start()
    until_s = time.monotonic() + START_S
    while not server.started and time.monotonic() < until_s and not thread.finish(0.01):
        pass
    shown = socket.gethostname() if address in ("0.0.0.0", "::") else address
    host = f"[{shown}]" if ":" in shown else shown
    url = f"http://{host}:{port}/" + (f"?token={token}" if token else "")
    return Served(url, server, thread, ending)


def _listen(address: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listener = socket.create_server((address, port), family=family, backlog=100)
    except OSError as error:
        raise OutputError(
            f"--serve {address}:{port} cannot be served ({error.strerror}): choose a port that is"
            " free, and an address of this machine"
        ) from error
    # Connections inherit it.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    return listener


def _make_application(
    page: PageSink, metrics: Metrics | None, token: str | None, ending: threading.Event
) -> Any:
    from starlette.applications import Starlette
    from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
    from starlette.routing import Route

    html = _HTML.read_text(encoding="utf-8")

    def guarded(answer: Callable[[Request], Response]) -> Callable[[Request], Any]:
        async def check(request: Request) -> Response:
            if not _is_allowed(request, token):
                return PlainTextResponse(
                    "this page needs the token that edgekit printed: open the URL with it\n", 403
                )
            return answer(request)

        return check

    def show_page(_request: Request) -> Response:
        headers = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"}
        answer = HTMLResponse(html, headers=headers)
        if token is not None:
            answer.set_cookie("edgekit", token, httponly=True, samesite="strict")
        return answer

    def send_numbers(request: Request) -> Response:
        return StreamingResponse(
            _stream_numbers(page, request, ending), media_type="text/event-stream"
        )

    def send_frames(request: Request) -> Response:
        return StreamingResponse(
            _stream_frames(page, request, ending), media_type="text/event-stream"
        )

    def send_metrics(_request: Request) -> Response:
        if metrics is None:
            return PlainTextResponse("no metrics are served here\n", 404)
        library = import_prometheus()
        return Response(
            library.generate_latest(metrics.registry), media_type="text/plain; version=0.0.4"
        )

    routes = {
        "/": show_page,
        "/numbers": send_numbers,
        "/frames": send_frames,
        "/metrics": send_metrics,
    }
    return Starlette(routes=[Route(path, guarded(answer)) for path, answer in routes.items()])


def _is_allowed(request: Request, token: str | None) -> bool:
    """Whether the request carries the token. On the loopback, where there is none, whether it asks
    for this host by its own name, so that no foreign page reads this one through DNS rebinding."""
    if token is None:
        return request.url.hostname in LOOPBACK
    given = request.query_params.get("token") or request.cookies.get("edgekit") or ""
    return secrets.compare_digest(given.encode(), token.encode())


async def _stream_numbers(
    page: PageSink, request: Request, ending: threading.Event
) -> AsyncIterator[bytes]:
    while not (ending.is_set() or await request.is_disconnected()):
        yield _make_event(page.numbers())
        await _pause(UPDATE_S, ending)


async def _stream_frames(
    page: PageSink, request: Request, ending: threading.Event
) -> AsyncIterator[bytes]:
    page.add_viewer(1)
    try:
        sent = -1
        while not (ending.is_set() or await request.is_disconnected()):
            event = await asyncio.to_thread(page.frame_event)
            if event is not None and event.number != sent:
                sent = event.number
                yield event.encoded
            await _pause(FRAME_S, ending)
    finally:
        page.add_viewer(-1)


async def _pause(seconds: float, ending: threading.Event) -> None:
    """Sleep, and return early when `ending` is set."""
    until_s = time.monotonic() + seconds
    while not ending.is_set() and (left_s := until_s - time.monotonic()) > 0:
        await asyncio.sleep(min(FRAME_S, left_s))


def _import_uvicorn() -> Any:
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise MissingPackageError(
            "--serve needs Starlette and uvicorn, which are not installed: pip install"
            " 'edgekit[serve]'"
        ) from error
    return uvicorn
