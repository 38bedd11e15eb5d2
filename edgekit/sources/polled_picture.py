"""A URL whose every answer is one picture, as cameras serve snapshots: it is asked again and again.

In: an http:// or https:// URL. Out: frames, one for each answer, and SourceError while there is
none, so that the loop treats it like a camera that was unplugged.
"""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from edgekit.arrays import BgrFrame
from edgekit.errors import SourceError
from edgekit.images.formats import is_image_name
from edgekit.native_libraries import load_opencv
from edgekit.sources.base import Frame, Source, SourceDescription
from edgekit.text import hide_credentials

TIMEOUT_S = 5.0
MOST_BYTES = 64_000_000
_BLOCK_BYTES = 1 << 16


class _Answer(NamedTuple):
    """A picture, and `time.monotonic_ns` when all of it was there."""

    content: bytes
    captured_ns: int


class PolledSource:
    """A picture by URL, read every `every_s` seconds. A URL of a stream or film is read as that.

    Args:
        url: `http://` or `https://`, with user and password if need be.
        every_s: the time between two answers; longer where the camera takes longer.
    """

    def __init__(self, url: str, every_s: float) -> None:
        self.name = hide_credentials(url)
        self._url = url
        self._every_s = every_s
        self._stream: Source | None = None
        self._waiting: _Answer | None = None
        self._due_s = 0.0
        self._time_s = 0.0
        self._frames = 0
        self._size: tuple[int, int] | None = None

    @property
    def is_live(self) -> bool:
        """Whether frames come at their own pace. Certain once the source is open."""
        return self._stream is None or self._stream.is_live

    @property
    def paces_itself(self) -> bool:
        """Whether `read` waits until the next picture is due: not for a stream."""
        return self._stream is None

    def open(self) -> None:
        """Ask once, and see what the URL is. Raises SourceError."""
        self._stream = self._waiting = None
        self._due_s = time.monotonic()
        with self._ask() as response:
            if _is_picture(response):
                self._waiting = self._receive(response)
                return
        from edgekit.sources.network import NetworkSource

        stream = NetworkSource(self._url)
        stream.open()
        self._stream = stream

    def read(self, buffer: BgrFrame | None = None) -> Frame | None:
        """The next picture when it is due, `(H, W, 3) uint8` BGR; `buffer` is for streams."""
        if self._stream is not None:
            return self._stream.read(buffer)
        if self._waiting is None:
            self._wait()
            with self._ask() as response:
                self._waiting = self._receive(response)
        answer, self._waiting = self._waiting, None
        pixels = self._decode(answer.content)
        frame = Frame(
            pixels=pixels, index=self._frames, captured_ns=answer.captured_ns, time_s=self._time_s
        )
        self._frames += 1
        self._size = (pixels.shape[1], pixels.shape[0])
        return frame

    def _wait(self) -> None:
        """Wait until the next picture is due; those whose time has passed are left out."""
        now = time.monotonic()
        self._due_s += self._every_s
        self._time_s += self._every_s
        while self._due_s + self._every_s < now:
            self._due_s += self._every_s
            self._time_s += self._every_s
        time.sleep(max(0.0, self._due_s - now))

    def _ask(self) -> http.client.HTTPResponse:
        try:
            opener, address = _make_opener(self._url)
            response: http.client.HTTPResponse = opener.open(address, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as error:
            error.close()
            raise SourceError(
                f"{self.name} answers {error.code} {error.reason}: check the path, user name and"
                " password in the URL"
            ) from None  # its text may hold the password
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise SourceError(
                f"cannot reach {self.name} ({_explain(error)}): check that it is switched on, on"
                " this network, and serves that port"
            ) from None
        return response

    def _receive(self, response: http.client.HTTPResponse) -> _Answer:
        """All of an answer, within the time limit and not endlessly much."""
        blocks, size, until_s = [], 0, time.monotonic() + TIMEOUT_S
        try:
            while block := response.read(_BLOCK_BYTES):
                blocks.append(block)
                size += len(block)
                if size > MOST_BYTES or time.monotonic() > until_s:
                    raise SourceError(
                        f"{self.name} sent {size:,} bytes in {TIMEOUT_S:g} s and no end: expected"
                        " a picture"
                    )
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, SourceError):
                raise
            raise SourceError(f"{self.name} broke off ({_explain(error)})") from None
        return _Answer(b"".join(blocks), time.monotonic_ns())

    def _decode(self, content: bytes) -> BgrFrame:
        from edgekit.images.decode import decode_image

        image = decode_image(content)
        if image is None:
            raise SourceError(
                f"{self.name} sent {len(content):,} bytes that cannot be decoded as a picture"
            )
        cv2 = load_opencv()

        return BgrFrame(cv2.cvtColor(image, cv2.COLOR_RGB2BGR, dst=image))

    def describe(self) -> SourceDescription:
        if self._stream is not None:
            return self._stream.describe()
        width, height = self._size or (None, None)
        return SourceDescription(
            kind="stream", name=self.name, width=width, height=height, fps=1 / self._every_s
        )

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._waiting = None


def _is_picture(response: http.client.HTTPResponse) -> bool:
    """By its type; by the URL where the server does not say."""
    kind = response.headers.get_content_type()
    if kind in ("application/octet-stream", "text/plain"):  # the latter is Python's default
        return is_image_name(Path(urlsplit(response.url).path))
    return kind.startswith("image/")


def _make_opener(url: str) -> tuple[urllib.request.OpenerDirector, str]:
    """What opens the URL with its user and password, and the URL without them."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    address = parts._replace(netloc=place).geturl()
    if parts.username is None:
        return urllib.request.build_opener(), address
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password(None, address, unquote(parts.username), unquote(parts.password or ""))
    return (
        urllib.request.build_opener(
            urllib.request.HTTPDigestAuthHandler(passwords),
            urllib.request.HTTPBasicAuthHandler(passwords),
        ),
        address,
    )


def _explain(error: Exception) -> str:
    """Why a request failed, without the URL."""
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return f"no answer within {TIMEOUT_S:g} s"
    return getattr(reason, "strerror", None) or type(reason).__name__
