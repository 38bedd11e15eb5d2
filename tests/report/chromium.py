"""A page in headless Chromium: what it asks for, what its console says, and how it looks.

Speaks the DevTools protocol over two pipes.
"""

from __future__ import annotations

import base64
import fcntl
import itertools
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
MISSING = "no Chromium here: apt-get install chromium, then run this test again"
_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
]
VIEWS = {
    "wide": (1100, "screen", "light"),
    "phone": (400, "screen", "light"),
    "dark": (1100, "screen", "dark"),
    "print": (794, "print", "light"),
}
"""Width in CSS pixels (794: A4 at 96 dpi), medium and colour scheme."""


def _place(read: int, write: int) -> None:
    """Chromium reads commands from descriptor 3 and writes answers to 4."""
    read, write = (fcntl.fcntl(number, fcntl.F_DUPFD, 10) for number in (read, write))
    os.dup2(read, 3)
    os.dup2(write, 4)


class Page:
    """One page, by its file or address, loaded. `events` are those of network, log and console
    since before the load."""

    def __init__(self, page: Path | str) -> None:
        self.events: list[dict[str, Any]] = []
        self._numbers = itertools.count(1)
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_child, self._to = os.pipe()
        self._from, from_child = os.pipe()
        self._process = subprocess.Popen(
            [str(CHROMIUM), *_FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"],
            preexec_fn=lambda: _place(to_child, from_child),
            pass_fds=(3, 4),
            stderr=subprocess.DEVNULL,
        )
        os.close(to_child)
        os.close(from_child)
        self._buffer = b""
        self._session: str | None = None
        targets = self.call("Target.getTargets")["targetInfos"]
        target = next(t["targetId"] for t in targets if t["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=page if isinstance(page, str) else page.resolve().as_uri())
        self.wait("Page.loadEventFired")
        self.call("Runtime.evaluate", expression="1")

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Send a command and wait for its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def wait(self, method: str) -> None:
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self._read())

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            received = os.read(self._from, 1 << 20)
            assert received, "Chromium ended early"
            self._buffer += received
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def requests(self) -> list[str]:
        """The addresses that were asked for, the page itself included."""
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]

    def complaints(self) -> list[dict[str, Any]]:
        """Exceptions, console calls and log entries."""
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [event for event in self.events if event.get("method") in kinds]

    def show(self, view: str) -> None:
        """Take on one of `VIEWS`."""
        width, medium, scheme = VIEWS[view]
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", media=medium, features=[feature])
        self.resize(width, mobile=view == "phone")

    def resize(
        self, width: int, height: int = 900, *, scale: float = 1, mobile: bool = False
    ) -> None:
        """Take on a size in CSS pixels, each of which is `scale` pixels of a screenshot."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=mobile,
        )

    def limit_network(self, bytes_per_s: int) -> None:
        """Pretend that the network is as slow as that; -1 for as fast as it is."""
        self.call(
            "Network.emulateNetworkConditions",
            offline=False,
            latency=0 if bytes_per_s < 0 else 100,
            downloadThroughput=bytes_per_s,
            uploadThroughput=bytes_per_s,
        )

    def evaluate(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"]["value"]

    def photograph(self, most_height: int = 4000) -> bytes:
        """The page from its top as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {
            "x": 0,
            "y": 0,
            "width": size["width"],
            "height": min(size["height"], most_height),
            "scale": 1,
        }
        answer = self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(answer["data"])

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)
        self._profile.cleanup()
