"""Results to a web server: signed POST requests, repeated until it accepts them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from edgekit.errors import OutputError
from edgekit.outputs.base import NumberedResult, Output
from edgekit.outputs.result_json import encode_line
from edgekit.text import hide_credentials

TIMEOUT_S = 5.0
SIGNATURE = "X-Edgekit-Signature"


class WebhookOutput(Output):
    """POSTs `{"results": [line, …]}` as JSON. With a `secret`, the header `X-Edgekit-Signature` is
    `sha256=` and the hexadecimal HMAC-SHA256 of the body.

    One request a `write`. After any answer but 2xx the same results are sent again; their `id`
    shows that they are the same.
    """

    batch = 100

    def __init__(self, url: str, *, secret: bytes | None = None) -> None:
        self.name = hide_credentials(url)
        if any(sign in url for sign in ' <>"\\^`{|}') or not (url.isascii() and url.isprintable()):
            raise OutputError(
                f"the URL {self.name} has a stray character: expected https://HOST[:PORT]/PATH,"
                " with special characters as %XX"
            )
        try:
            parts = urlsplit(url)
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError:
            raise OutputError(
                f"the URL {self.name} cannot be read: expected https://HOST[:PORT]/PATH"
            ) from None
        if not self._host:
            raise OutputError(f"the URL {self.name} names no host: expected https://HOST/PATH")
        self._connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._secret = secret

    def write(self, results: Sequence[NumberedResult]) -> None:
        if results:
            self._post(b'{"results":[' + b",".join(map(encode_line, results)) + b"]}")

    def _post(self, body: bytes) -> None:
        headers = {"Content-Type": "application/json"}
        if self._secret is not None:
            digest = hmac.new(self._secret, body, hashlib.sha256).hexdigest()
            headers[SIGNATURE] = f"sha256={digest}"
        connection = self._connect(self._host, self._port, timeout=TIMEOUT_S)
        try:
            connection.request("POST", self._path, body, headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, UnicodeError, HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise OutputError(f"cannot reach {self.name} ({reason}): check the address") from None
        finally:
            connection.close()
        if not 200 <= answer.status < 300:
            raise OutputError(
                f"{self.name} answers {answer.status} {answer.reason}: expected 2xx; its log may"
                " say why"
            )

    def close(self) -> None:
        pass
