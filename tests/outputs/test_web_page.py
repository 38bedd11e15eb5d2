"""The page of `--serve`, asked over HTTP and opened in Chromium."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from urllib.parse import urlsplit

import numpy as np
import pytest

from edgekit.errors import OutputError
from edgekit.outputs.prometheus import Metrics
from edgekit.sources.source_state import SourceState
from tests.outputs.results import make_result, wait_until
from tests.outputs.test_prometheus import SUMMARY, find_port
from tests.report.chromium import CHROMIUM, MISSING, Page
from tests.sources.video_files import wait_for_threads

pytest.importorskip("uvicorn")
from edgekit.outputs.web_page import (
    PageSink,
    Served,
    encode_picture,
    serve_page,
)


class Board:
    """A loop that gives a result every hundredth of a second, with its frame when it is wanted."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.watched = threading.Event()
        self.sink = PageSink(lambda: SUMMARY, "camera /dev/video0", [], self.watched)
        self.port = find_port()
        metrics = Metrics(lambda: SUMMARY)
        self.served: Served = serve_page(self.sink, metrics, address, self.port)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        index = 0
        while not self._stop.wait(0.01):
            frame = np.full((90, 160, 3), index % 256, np.uint8)
            self.sink.write(make_result(index, frame if self.watched.is_set() else None))
            index += 1

    def ask(self, path: str, **headers: str) -> tuple[int, str, bytes]:
        """Status, content type, and the first 2,000 bytes."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read1(2000) if "stream" in str(answer.headers) else answer.read(2000)
        connection.close()
        return answer.status, answer.headers["Content-Type"], body

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.served.close()


@pytest.fixture
def board() -> Iterator[Board]:
    board = Board()
    yield board
    board.close()
    assert wait_for_threads("edgekit-") == []


def test_the_page_and_its_numbers(board: Board) -> None:
    assert board.served.url == f"http://127.0.0.1:{board.port}/"
    status, kind, body = board.ask("/")
    assert status == 200 and kind.startswith("text/html")
    assert body.startswith(b"<!doctype html>")
    board.sink.see_state(SourceState("frozen", "the same picture", 1.0))
    time.sleep(0.6)
    status, kind, body = board.ask("/numbers")
    assert kind.startswith("text/event-stream")
    numbers = json.loads(body.removeprefix(b"data: "))
    assert numbers["state"] == {"name": "frozen", "reason": "the same picture"}
    assert numbers["frames"] == 41 and numbers["left_out"]["dropped"] == 5
    assert numbers["line"]["label"].startswith("class ")
    assert numbers["stages_ms"] == [1.0, 2.0, 3.0, 4.0]
    assert len(numbers["recent"]) == 12
    assert board.ask("/metrics")[2].startswith(b"# HELP edgekit_")
    assert board.ask("/nothing")[0] == 404


def test_pictures_are_made_only_while_somebody_looks(board: Board) -> None:
    assert not board.watched.is_set()
    viewers = [socket.create_connection(("127.0.0.1", board.port)) for _ in range(3)]
    for viewer in viewers:
        viewer.sendall(b"GET /picture HTTP/1.1\r\nHost: localhost\r\n\r\n")
        viewer.settimeout(5)
    for viewer in viewers:
        received = b""
        while received.count(b"\xff\xd8\xff") < 3:
            received += viewer.recv(65536)
    assert board.watched.is_set()
    for viewer in viewers:
        viewer.close()
    wait_until(lambda: not board.watched.is_set())


def test_large_pictures_are_made_smaller() -> None:
    import cv2

    jpeg = encode_picture(np.zeros((1080, 1920, 3), np.uint8))
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1).shape == (360, 640, 3)


def test_no_foreign_name_leads_to_the_loopback(board: Board) -> None:
    assert board.ask("/", Host="evil.example")[0] == 403
    assert board.ask("/", Host=f"localhost:{board.port}")[0] == 200


def test_beyond_the_loopback_a_token_is_wanted() -> None:
    board = Board("0.0.0.0")
    try:
        query = urlsplit(board.served.url).query
        assert query.startswith("token=") and len(query) > 20
        for path in ("/", "/numbers", "/picture", "/metrics", "/?token=wrong", "/?token=%C3%A4"):
            status, _, body = board.ask(path)
            assert status == 403
            assert body == b"this page wants the token that edgekit printed: open that URL\n"
        assert board.ask(f"/?{query}")[0] == 200
        cookie = f"edgekit={query.removeprefix('token=')}"
        assert board.ask("/metrics", Cookie=cookie)[0] == 200
    finally:
        board.close()


def test_a_port_in_use(board: Board) -> None:
    with pytest.raises(OutputError, match=f"--serve 127.0.0.1:{board.port} cannot be served"):
        serve_page(board.sink, None, "127.0.0.1", board.port)


@pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
def test_the_page_in_a_browser(board: Board) -> None:
    page = Page(board.served.url)
    try:
        wait_until(lambda: page.evaluate("document.getElementById('fps').textContent") != "–")
        wait_until(lambda: page.evaluate("document.getElementById('picture').naturalWidth") == 160)
        assert board.watched.is_set()
        answer = page.evaluate("document.getElementById('answer').textContent")
        assert answer.startswith("class ")
        wait_until(lambda: page.evaluate("document.querySelectorAll('#chart polygon').length") == 3)
        for view in ("wide", "phone", "dark"):
            page.show(view)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.evaluate("document.getElementById('pause').click(); 1")
        wait_until(lambda: not board.watched.is_set())
        assert page.evaluate("document.getElementById('pause').textContent") == "Show picture"
        page.evaluate("document.getElementById('pause').click(); 1")
        wait_until(board.watched.is_set)
        assert page.complaints() == []
        hosts = {urlsplit(url).netloc for url in page.requests() if not url.startswith("data:")}
        assert hosts == {f"127.0.0.1:{board.port}"}
    finally:
        page.close()
