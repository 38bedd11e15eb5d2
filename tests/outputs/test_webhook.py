"""POST requests against a real server: signed, repeated, refused."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from edgekit.errors import OutputError
from edgekit.outputs import delivery as output_module
from edgekit.outputs.delivery import Delivery
from edgekit.outputs.webhook import SIGNATURE, WebhookOutput
from tests.outputs.results import make_numbered, wait_until


class Hook:
    """What a server was sent, and what it answers."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 204
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *arguments: object) -> None:
                pass

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.requests.append((self.path, dict(self.headers), body))
                self.send_response(hook.status)
                self.end_headers()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def ids(self) -> list[str]:
        bodies = (json.loads(body) for _, _, body in self.requests)
        return list(dict.fromkeys(line["id"] for body in bodies for line in body["results"]))


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.server.shutdown()
    hook.server.server_close()


def test_requests_are_signed(hook: Hook) -> None:
    WebhookOutput(f"{hook.url}?board=3", secret=b"hunter2").write(make_numbered(3))
    ((path, headers, body),) = hook.requests
    assert path == "/hook?board=3"
    assert headers[SIGNATURE] == f"sha256={hmac.new(b'hunter2', body, hashlib.sha256).hexdigest()}"
    assert [line["id"] for line in json.loads(body)["results"]] == ["run-0", "run-1", "run-2"]


def test_without_a_secret_there_is_no_signature(hook: Hook) -> None:
    output = WebhookOutput(hook.url)
    output.write([])
    output.write(make_numbered(1))
    assert len(hook.requests) == 1
    assert SIGNATURE not in hook.requests[0][1]


def test_what_is_not_taken_is_sent_again(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_module, "RETRY_S", (0.02,))
    hook.status = 503
    told: list[str] = []
    delivery = Delivery(WebhookOutput(hook.url), told.append)
    for numbered in make_numbered(250):
        delivery.put(numbered)
    wait_until(lambda: delivery.counts.failures > 2)
    hook.status = 200
    wait_until(lambda: delivery.counts.written == 250)
    delivery.begin_end()
    delivery.end(time.monotonic() + 2)
    assert hook.ids() == [f"run-{index}" for index in range(250)]
    assert max(len(json.loads(body)["results"]) for _, _, body in hook.requests) <= 100
    assert "answers 503 Service Unavailable: expected 2xx" in told[0]


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(OutputError, match=r"cannot reach http://\*\*\*@127\.0\.0\.1:9/x\?\*\*\*"):
        WebhookOutput("http://pi:hunter2@127.0.0.1:9/x?key=hunter2").write(make_numbered(1))
