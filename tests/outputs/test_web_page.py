"""The page of `--serve`, asked over HTTP and opened in Chromium."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from msgspec.structs import replace

from edgekit.arrays import BgrFrame
from edgekit.errors import OutputError
from edgekit.outputs.prometheus import Metrics
from edgekit.runtime.classify_frame import Result
from edgekit.sources.source_state import SourceState
from edgekit.spec import ClassScore, Prediction
from tests.outputs.results import make_labels, make_result, wait_until
from tests.outputs.test_prometheus import SUMMARY, find_port
from tests.report.chromium import CHROMIUM, MISSING, Page
from tests.sources.video_files import numbered_frame, read_number, wait_for_threads

pytest.importorskip("uvicorn")
from edgekit.outputs.web_page import (
    PageSink,
    Served,
    encode_picture,
    serve_page,
)

WIDTH = "document.getElementById('picture')?.naturalWidth ?? 0"
SHOWN = """
(() => {
  const box = element => {
    const {x, y, width, height} = element.getBoundingClientRect();
    return [x + scrollX, y + scrollY, width, height];
  };
  return [box(document.getElementById("frame")), box(document.querySelector(".bar i"))];
})()
"""


def make_numbered_result(index: int, *, keep_pixels: bool) -> Result:
    """A result whose picture, label and score all encode the same number (0-63)."""
    number = index % 64
    best = ClassScore(label=f"frame {number}", class_index=number, score=number / 64)
    return replace(
        make_result(index),
        prediction=Prediction(top=(best,)),
        pixels=numbered_frame(number) if keep_pixels else None,
    )


class Board:
    """A loop that writes a numbered result every `interval_s`, with its frame when it is wanted."""

    def __init__(self, address: str = "127.0.0.1", interval_s: float = 0.01) -> None:
        self.interval_s = interval_s
        self.index = 0
        self.viewer_present = threading.Event()
        self.sink = PageSink(lambda: SUMMARY, "camera /dev/video0", [], self.viewer_present)
        self.port = find_port()
        metrics = Metrics(lambda: SUMMARY)
        self.served: Served = serve_page(self.sink, metrics, address, self.port)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(self.interval_s):
            self.sink.write(
                make_numbered_result(self.index, keep_pixels=self.viewer_present.is_set())
            )
            self.index += 1

    def ask(self, path: str, **headers: str) -> tuple[int, str, bytes]:
        """Status, content type, and the first 2,000 bytes, or the first event of a stream."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        is_stream = answer.headers["Content-Type"].startswith("text/event-stream")
        body = answer.readline() if is_stream else answer.read(2000)
        connection.close()
        return answer.status, answer.headers["Content-Type"], body

    def stop(self) -> None:
        """End the loop; the page stays served."""
        self._stop.set()
        self._thread.join()

    def close(self) -> None:
        self.stop()
        self.served.close()


@contextmanager
def running(board: Board) -> Iterator[Board]:
    try:
        yield board
    finally:
        board.close()
    assert wait_for_threads("edgekit-") == []


@pytest.fixture
def board() -> Iterator[Board]:
    with running(Board()) as board:
        yield board


def test_the_page_and_its_numbers(board: Board) -> None:
    assert board.served.url == f"http://127.0.0.1:{board.port}/"
    status, kind, body = board.ask("/")
    assert status == 200 and kind.startswith("text/html")
    assert body.startswith(b"<!doctype html>")
    board.sink.set_source_state(SourceState("frozen", "the same picture", 1.0))
    time.sleep(0.6)
    status, kind, body = board.ask("/numbers")
    assert kind.startswith("text/event-stream")
    numbers = json.loads(body.removeprefix(b"data: "))
    assert numbers["state"] == {"name": "frozen", "reason": "the same picture"}
    assert numbers["frames"] == 41 and numbers["left_out"]["dropped"] == 5
    assert numbers["line"]["label"].startswith("frame ")
    assert numbers["stages_ms"] == [1.0, 2.0, 3.0, 4.0]
    assert len(numbers["recent"]) == 12
    assert board.ask("/metrics")[2].startswith(b"# HELP edgekit_")
    assert board.ask("/nothing")[0] == 404


def test_labels_and_none_on_the_page() -> None:
    """The answer names every label; classes below the threshold are pale; none is said, too."""
    sink = PageSink(lambda: SUMMARY, "camera", [], threading.Event())
    for result in (make_labels(0, 3), make_labels(0, 3), make_labels()):
        sink.write(result)
    numbers = sink.numbers()
    assert numbers["line"].labels == ()
    changes = [(change["label"], change["score"]) for change in numbers["recent"]]
    assert changes == [("none", None), ("class 0; class 3", 0.9)]


def test_pictures_are_made_only_while_somebody_looks(board: Board) -> None:
    assert not board.viewer_present.is_set()
    viewers = [socket.create_connection(("127.0.0.1", board.port)) for _ in range(3)]
    for viewer in viewers:
        viewer.sendall(b"GET /frames HTTP/1.1\r\nHost: localhost\r\n\r\n")
        viewer.settimeout(5)
    for viewer in viewers:
        received = b""
        while received.count(b"data:image/jpeg") < 3:
            received += viewer.recv(65536)
    assert board.viewer_present.is_set()
    for viewer in viewers:
        viewer.close()
    wait_until(lambda: not board.viewer_present.is_set())


class Viewer(threading.Thread):
    """Reads events of `/frames` until it has `count` with a picture, at most `bytes_per_s`."""

    def __init__(self, board: Board, count: int, bytes_per_s: float = float("inf")) -> None:
        super().__init__()
        self._board, self._count, self._bytes_per_s = board, count, bytes_per_s
        self.frames: list[tuple[int, int, int, float]] = []
        """Number in the picture, in the label and in the scores, and how many frames the loop was
        ahead."""
        self.start()

    def run(self) -> None:
        with socket.socket() as sock, closing(HTTPConnection("127.0.0.1")) as connection:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(10)
            sock.connect(("127.0.0.1", self._board.port))
            connection.sock = sock
            connection.request("GET", "/frames")
            answer = connection.getresponse()
            while len(self.frames) < self._count and (line := answer.readline()):
                if line.startswith(b"data: "):
                    self._take(json.loads(line.removeprefix(b"data: ")))
                time.sleep(len(line) / self._bytes_per_s)

    def _take(self, message: dict[str, Any]) -> None:
        line, url = message["line"], message["picture"]
        if url is None:
            return
        jpeg = base64.b64decode(url.removeprefix("data:image/jpeg;base64,"), validate=True)
        pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert pixels is not None
        label = int(line["label"].removeprefix("frame "))
        score = round(64 * line["top"][0]["score"])
        ahead = self._board.index - line["frame"]
        self.frames.append((read_number(pixels), label, score, ahead))


@pytest.mark.slow
@pytest.mark.parametrize("interval_s", [0.001, 0.3], ids=["fast", "slow"])
def test_a_picture_comes_with_the_answer_for_its_own_frame(interval_s: float) -> None:
    with running(Board(interval_s=interval_s)) as board:
        viewers = [Viewer(board, 10) for _ in range(3)]
        viewers.append(Viewer(board, 10, bytes_per_s=20_000))
        for viewer in viewers:
            viewer.join(30)
            assert len(viewer.frames) == 10
            assert all(seen == label == score for seen, label, score, _ in viewer.frames)


@pytest.mark.slow
def test_a_slow_viewer_sees_fewer_frames_not_old_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = BgrFrame(np.random.default_rng(0).integers(100, 150, (480, 640, 3), np.uint8))
    event_bytes = len(base64.b64encode(encode_picture(noise)))
    assert event_bytes > 50_000
    monkeypatch.setattr("tests.outputs.test_web_page.numbered_frame", lambda number: noise)
    with running(Board()) as board:
        viewer = Viewer(board, 20, bytes_per_s=4 * event_bytes)
        viewer.join(30)
        assert len(viewer.frames) == 20
        # Four of ten frames/s get through: in 5 s they would fall 3 s, so 300 frames, behind.
        assert viewer.frames[-1][3] < 150


def test_a_page_shows_twenty_classes_of_a_thousand() -> None:
    with running(Board()) as board:
        top = tuple(ClassScore(label=f"{i}", class_index=i, score=0.5**i) for i in range(1000))
        result = replace(make_result(0), prediction=Prediction(top=top))
        board.stop()
        board.sink.write(result)
        event = board.sink.frame_event()
        assert event is not None
        line = json.loads(event.encoded.removeprefix(b"data: "))["line"]
        assert [place["label"] for place in line["top"]] == [str(i) for i in range(20)]


@pytest.mark.slow
@pytest.mark.parametrize("reads", [True, False])
def test_the_end_is_quiet_with_viewers(
    reads: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    monkeypatch.setattr("tests.outputs.test_web_page.numbered_frame", lambda number: noise)
    board = Board()
    with running(board), socket.create_connection(("127.0.0.1", board.port)) as viewer:
        viewer.sendall(b"GET /frames HTTP/1.1\r\nHost: localhost\r\n\r\n")
        reader = threading.Thread(target=read_all, args=(viewer,))
        if reads:
            reader.start()
        time.sleep(1.5)  # the connection of one that reads nothing is full
        began = time.monotonic()
        board.close()
        assert time.monotonic() - began < 1.5
        assert not caplog.records
        if reads:
            reader.join(5)


def read_all(connection: socket.socket) -> None:
    while connection.recv(1 << 20):
        pass


def test_large_pictures_are_made_smaller() -> None:
    jpeg = encode_picture(BgrFrame(np.zeros((1080, 1920, 3), np.uint8)))
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1).shape == (360, 640, 3)


def test_no_foreign_name_leads_to_the_loopback(board: Board) -> None:
    assert board.ask("/", Host="evil.example")[0] == 403
    assert board.ask("/", Host=f"localhost:{board.port}")[0] == 200


def test_beyond_the_loopback_a_token_is_needed() -> None:
    with running(Board("0.0.0.0")) as board:
        query = urlsplit(board.served.url).query
        assert query.startswith("token=") and len(query) > 20
        for path in ("/", "/numbers", "/frames", "/metrics", "/?token=wrong", "/?token=%C3%A4"):
            status, _, body = board.ask(path)
            assert status == 403
            assert body == b"this page needs the token that edgekit printed: open the URL with it\n"
        assert board.ask(f"/?{query}")[0] == 200
        cookie = f"edgekit={query.removeprefix('token=')}"
        assert board.ask("/metrics", Cookie=cookie)[0] == 200


def test_a_port_in_use(board: Board) -> None:
    with pytest.raises(OutputError, match=f"--serve 127.0.0.1:{board.port} cannot be served"):
        serve_page(board.sink, None, "127.0.0.1", board.port)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
def test_the_page_in_a_browser(board: Board) -> None:
    page = Page(board.served.url)
    try:
        wait_until(lambda: page.evaluate("document.getElementById('fps').textContent") != "–")
        wait_until(
            lambda: page.evaluate("document.getElementById('picture')?.naturalWidth ?? 0") == 160
        )
        assert board.viewer_present.is_set()
        answer = page.evaluate("document.getElementById('answer').textContent")
        assert answer.startswith("frame ")
        wait_until(lambda: page.evaluate("document.querySelectorAll('#chart polygon').length") == 3)
        for view in ("wide", "phone", "dark"):
            page.show(view)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.evaluate("document.getElementById('pause').click(); 1")
        wait_until(lambda: not board.viewer_present.is_set())
        assert page.evaluate("document.getElementById('pause').textContent") == "Show picture"
        page.evaluate("document.getElementById('pause').click(); 1")
        wait_until(board.viewer_present.is_set)
        assert page.complaints() == []
        hosts = {urlsplit(url).netloc for url in page.requests() if not url.startswith("data:")}
        assert hosts == {f"127.0.0.1:{board.port}"}
    finally:
        page.close()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
def test_the_page_says_why_nothing_new_comes(board: Board) -> None:
    page = Page(board.served.url)
    notice = "document.querySelector('#notice:not([hidden])')?.textContent ?? ''"
    state = "document.getElementById('state').textContent"
    try:
        wait_until(lambda: page.evaluate(state) == "live")
        assert page.evaluate(notice) == ""
        board.sink.set_source_state(SourceState("lost", "the camera was unplugged", 1.0))
        wait_until(lambda: page.evaluate(state) == "lost")
        assert page.evaluate(notice).startswith("the camera was unplugged. It is opened again")
        assert page.evaluate("getComputedStyle(document.querySelector('img')).opacity") == "0.35"
        board.sink.set_source_state(SourceState("live", "it delivers again", 1.0))
        wait_until(lambda: page.evaluate(notice) == "")
        board.served.close()
        wait_until(lambda: page.evaluate(state) == "no connection")
        assert page.evaluate(notice).startswith("edgekit has ended, or the network is interrupted")
    finally:
        page.close()


def read_shown_numbers(png: bytes, boxes: list[list[float]]) -> tuple[int, int]:
    """The number that the picture shows, and the one that the bar of the best score shows."""
    screenshot = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    (x, y, width, height), (bar_x, bar_y, bar_width, bar_height) = boxes
    middle = screenshot[round(y + height / 3) : round(y + height / 2), round(x + width / 3) :]
    picture = read_number(middle[:, : round(width / 3)])
    bar = screenshot[round(bar_y + bar_height / 2), round(bar_x) : round(bar_x + bar_width)]
    filled = (bar.max(axis=1).astype(int) - bar.min(axis=1) > 60).sum()
    return picture, round(64 * filled / bar_width)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
@pytest.mark.parametrize(
    ("interval_s", "bytes_per_s"),
    [(0.001, -1), (0.25, -1), (0.01, 10_000)],
    ids=["fast", "slow", "slow connection"],
)
def test_what_is_painted_is_one_frame(interval_s: float, bytes_per_s: int) -> None:
    with running(Board(interval_s=interval_s)) as board:
        page = Page(board.served.url)
        try:
            page.show("wide")
            wait_until(
                lambda: page.evaluate("!!document.getElementById('picture')?.naturalWidth ?? 0")
            )
            wait_until(lambda: page.evaluate("!!document.querySelector('.bar i')"))
            page.limit_network(bytes_per_s)
            seen = []
            for _ in range(12):
                boxes = page.evaluate(SHOWN)
                seen.append(read_shown_numbers(page.photograph(900), boxes))
                time.sleep(0.1)
            assert len(set(seen)) > 3
            assert all(picture == score for picture, score in seen), seen
        finally:
            page.close()
