"""A snapshot by URL, asked again every so many seconds, through a camera's bad moments."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import pytest

from edgekit.errors import SourceError
from edgekit.resources import demo_bundle
from edgekit.runtime.frame_policy import FramePolicy
from edgekit.sources.open_source import make_source
from edgekit.sources.source_state import SourceState
from edgekit.streaming.options import RunOptions
from edgekit.streaming.run_stream import run_stream
from tests.sources.video_files import numbered_frame, read_number, serve_mjpeg

TOKEN = "Basic " + base64.b64encode(b"user:pa@ss").decode()


class Camera:
    """What the server answers: numbered pictures, and failures on the requests of `failing`."""

    def __init__(self) -> None:
        self.requests = 0
        self.failing: dict[int, str] = {}
        self.asks_password = False
        self.is_still = False
        self.kind = "image/jpeg"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        if self.asks_password and handler.headers.get("Authorization") != TOKEN:
            handler.send_response(401)
            handler.send_header("WWW-Authenticate", 'Basic realm="camera"')
            handler.end_headers()
            return
        number = self.requests
        self.requests += 1
        failure = self.failing.get(number)
        if failure == "error":
            handler.send_error(503)
            return
        content = cv2.imencode(".jpg", numbered_frame(0 if self.is_still else number))[1].tobytes()
        handler.send_response(200)
        handler.send_header("Content-Type", self.kind)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[: len(content) // 2] if failure == "half" else content)


@contextmanager
def serve(camera: Camera) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            camera.answer(self)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}/snapshot.jpg"
    finally:
        server.shutdown()
        server.server_close()


def test_a_snapshot_is_asked_again_every_interval() -> None:
    with serve(Camera()) as place:
        source = make_source(f"http://{place}", every_s=0.15)
        began = time.monotonic()
        source.open()
        assert source.is_live
        frames = [source.read() for _ in range(4)]
        took_s = time.monotonic() - began
        source.close()
    assert [read_number(frame.pixels) for frame in frames] == [0, 1, 2, 3]
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.15, 0.3, 0.45])
    assert took_s > 0.44


@pytest.mark.parametrize("failure", ["error", "half"])
def test_a_run_goes_on_after_a_snapshot_failed(failure: str) -> None:
    """`--every` reads a snapshot URL again and again; a failure is a lost source, opened again."""
    camera, states = Camera(), []
    camera.failing = {2: failure}
    with serve(camera) as place:
        options = RunOptions(
            model=demo_bundle(),
            source=f"http://{place}",
            policy=FramePolicy(every_s=0.1),
            frames=4,
        )
        run = run_stream(options, on_state_change=lambda state: states.append(state))
        results = list(run)
    assert len(results) == 4
    assert [state.name for state in states] == ["lost", "live"]
    assert isinstance(states[0], SourceState)
    assert "snapshot.jpg" in states[0].reason
    assert run.summary().skipped == run.summary().repeated == 0
    assert camera.requests in (5, 6)  # one may be ahead


def test_the_same_picture_is_classified_each_time() -> None:
    """A still life is not a frozen camera: a result was asked for every interval."""
    camera = Camera()
    camera.is_still = True
    with serve(camera) as place:
        policy = FramePolicy(every_s=0.05)
        options = RunOptions(model=demo_bundle(), source=f"http://{place}", policy=policy, frames=3)
        run = run_stream(options)
        assert len(list(run)) == 3
    assert run.summary().repeated == 0


def test_a_password_is_sent_and_not_shown() -> None:
    camera = Camera()
    camera.asks_password = True
    with serve(camera) as place:
        source = make_source(f"http://user:pa%40ss@{place}", every_s=1)
        source.open()
        frame = source.read()
        assert frame is not None and read_number(frame.pixels) == 0
        assert "pa" not in str(source.describe()).partition("(")[0].replace("snapshot", "")
        source.close()
        wrong = make_source(f"http://user:wrong@{place}", every_s=1)
        with pytest.raises(SourceError, match=r"answers 401 .*: check the path") as caught:
            wrong.open()
    assert "wrong" not in str(caught.value)


def test_an_answer_without_an_image_type_is_known_by_its_name() -> None:
    camera = Camera()
    camera.kind = "application/octet-stream"
    with serve(camera) as place:
        source = make_source(f"http://{place}", every_s=1)
        source.open()
        assert source.read() is not None
        source.close()


def test_what_is_not_a_picture_stays_a_stream() -> None:
    """With `--every`, an MJPEG stream is read whole, and the newest frame is taken."""
    with serve_mjpeg(20, 0.05) as url:
        source = make_source(url, every_s=2.0)
        source.open()
        first, second = source.read(), source.read()
        source.close()
    assert first is not None and second is not None
    assert second.captured_ns - first.captured_ns < 1_000_000_000


def test_a_server_that_is_not_there_is_one_line() -> None:
    source = make_source("http://user:secret@127.0.0.1:9/snapshot.jpg", every_s=1)
    with pytest.raises(SourceError, match=r"cannot reach http://.*Connection refused") as caught:
        source.open()
    assert "secret" not in str(caught.value)
