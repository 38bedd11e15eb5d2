"""A connection to an MQTT broker: its address, logging in, sending with acknowledgements."""

from __future__ import annotations

import ssl
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from edgekit.background_thread import Background
from edgekit.errors import MissingPackageError, OutputError
from edgekit.text import hide_credentials

CONNECT_S = 5.0
KEEPALIVE_S = 30
IN_FLIGHT = 20
"""How many results may be sent and not yet acknowledged."""
ACKNOWLEDGE_S = 10.0
"""A broker that acknowledges nothing for so long counts as lost."""
_EXAMPLE = "mqtt://[USER:PASSWORD@]HOST[:PORT]/TOPIC, or mqtts:// for TLS"


class AwayError(OutputError):
    """The broker cannot be reached at the moment."""


class Broker(NamedTuple):
    """An MQTT broker, the topic for results there, and how to log in."""

    host: str
    port: int
    tls: bool
    topic: str
    user: str | None
    password: str | None
    authority: str | None
    """A file with the certificates of trusted authorities, in place of the system's."""

    @property
    def shown(self) -> str:
        """Its URL without the password, for a log."""
        scheme = "mqtts" if self.tls else "mqtt"
        secret = "***@" if self.user else ""
        return f"{scheme}://{secret}{self.host}:{self.port}/{self.topic}"

    @classmethod
    def parse(cls, url: str) -> Broker:
        """Read a URL. Raises OutputError, whose text does not hold the password."""
        shown = hide_credentials(url)
        problem = None
        try:
            parts = urlsplit(url)
            tls = parts.scheme == "mqtts"
            port = parts.port or (8883 if tls else 1883)
            host, topic = parts.hostname, unquote(parts.path).strip("/")
            allowed = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        except ValueError:
            raise OutputError(f"the URL {shown} cannot be read: expected {_EXAMPLE}") from None
        authority = allowed.pop("ca", None)
        if not host:
            problem = "names no host"
        elif not topic or set(topic) & set("+#@\0"):
            problem = "has no topic after its host, or one with + # or @"
        elif allowed:
            problem = "has settings, of which only ca=FILE is known"
        elif any(sign in url for sign in '# <>"\\^`{|}'):
            problem = "has a stray character (write it as %XX)"
        if problem:
            raise OutputError(f"the URL {shown} {problem}: expected {_EXAMPLE}")
        assert host is not None
        user = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        return cls(host, port, tls, topic, user, password, authority)


class BrokerConnection:
    """An open connection to the broker. It works while `work` is called, which raises OutputError
    once the connection is lost."""

    def __init__(self, broker: Broker) -> None:
        paho = import_paho()
        self._broker = broker
        self._topic = broker.topic
        self._refused: str | None = None
        self._is_connected = False
        self._waiting: deque[bytes] = deque()
        self._in_flight: OrderedDict[int, bytes] = OrderedDict()
        self._acknowledged_s = time.monotonic()
        self._client = client = paho.Client(paho.CallbackAPIVersion.VERSION2, clean_session=True)
        client.connect_timeout = CONNECT_S
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        client.will_set(f"{self._topic}/available", "offline", qos=1, retain=True)
        if broker.user is not None:
            client.username_pw_set(broker.user, broker.password)
        try:
            if broker.tls:
                client.tls_set(ca_certs=broker.authority)
            client.connect(broker.host, broker.port, KEEPALIVE_S)
        except (ssl.SSLError, FileNotFoundError) as error:
            raise OutputError(_spell_failure(broker, error)) from None
        except (OSError, ValueError) as error:
            raise AwayError(_spell_failure(broker, error)) from None
        until_s = time.monotonic() + CONNECT_S
        while not self._is_connected and self._refused is None and time.monotonic() < until_s:
            if client.loop(0.1) and self._refused is None:
                break
        if not self._is_connected:
            self.drop()
            reason = self._refused or f"it does not answer as a broker within {CONNECT_S:g} s"
            raise OutputError(
                f"{broker.shown} refuses the connection ({reason}): check user name, password and"
                " the broker's access rules"
            )

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, more: Any) -> None:
        self._is_connected = not reason.is_failure
        self._refused = str(reason) if reason.is_failure else None

    def _on_publish(self, client: Any, data: Any, mid: int, reason: Any, more: Any) -> None:
        self._acknowledged_s = time.monotonic()
        self._in_flight.pop(mid, None)

    def announce(self, discovery: dict[str, Any]) -> None:
        """Publish, retained, that this board is online and what Home Assistant is to show."""
        where = f"homeassistant/sensor/{discovery['unique_id']}/config"
        self._client.publish(where, msgspec.json.encode(discovery), qos=1, retain=True)
        self._client.publish(f"{self._topic}/available", "online", qos=1, retain=True)

    @property
    def is_idle(self) -> bool:
        """Whether everything queued was acknowledged."""
        return not self._waiting and not self._in_flight

    def queue(self, documents: Sequence[bytes] | deque[bytes]) -> None:
        self._waiting.extend(documents)

    def unacknowledged(self) -> list[bytes]:
        """What was queued and not acknowledged, in order."""
        return [*self._in_flight.values(), *self._waiting]

    def work(self, timeout_s: float) -> None:
        """Send and receive for at most so long."""
        while self._waiting and len(self._in_flight) < IN_FLIGHT:
            if not self._in_flight:
                self._acknowledged_s = time.monotonic()
            sent = self._client.publish(f"{self._topic}/result", self._waiting[0], qos=1)
            if sent.rc:
                self._fail("the connection broke")
            self._in_flight[sent.mid] = self._waiting.popleft()
        if self._client.loop(timeout_s):
            self._fail("the connection broke")
        if self._in_flight and time.monotonic() - self._acknowledged_s > ACKNOWLEDGE_S:
            self._fail(f"it acknowledged nothing for {ACKNOWLEDGE_S:g} s")

    def _fail(self, reason: str) -> None:
        raise OutputError(f"{self._broker.shown} is lost ({reason}): waiting for it")

    def disconnect(self) -> None:
        """Publish that this board is offline, retained, and disconnect. Does not raise."""
        try:
            farewell = self._client.publish(
                f"{self._topic}/available", "offline", qos=1, retain=True
            )
            until_s = time.monotonic() + 0.2
            while not farewell.is_published() and time.monotonic() < until_s:
                if self._client.loop(0.05):
                    break
            self._client.disconnect()
            self._client.loop(0.05)
        except (ValueError, RuntimeError, OSError):
            pass
        self.drop()

    def drop(self) -> None:
        """Close the socket without disconnecting: the broker then publishes the last will."""
        socket = self._client.socket()
        if socket is not None:
            socket.close()


class Connecting(Background):
    """An attempt to connect, in a thread: name servers and handshakes take time."""

    def __init__(self, broker: Broker) -> None:
        super().__init__("edgekit-connect", self._connect)
        self._broker = broker
        self._connection: BrokerConnection | None = None
        self.start()

    def _connect(self) -> None:
        self._connection = BrokerConnection(self._broker)

    def take(self) -> BrokerConnection:
        """The connection, once the thread has ended; raises what the thread raised."""
        self.finish(0)
        assert self._connection is not None
        return self._connection


def _spell_failure(broker: Broker, error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (
            f"{broker.shown} has no TLS that can be trusted ({error.reason or error}): give the"
            " certificates of its authority with ?ca=FILE, or use mqtt://"
        )
    if isinstance(error, FileNotFoundError):
        return f"there is no file {broker.authority}: expected the certificates of an authority"
    reason = getattr(error, "strerror", None) or str(error)
    return (
        f"cannot reach {broker.shown} ({reason}): check the address, and that the broker listens"
        " there"
    )


def import_paho() -> Any:
    """The client library. Raises MissingPackageError where it is not installed."""
    try:
        import paho.mqtt.client as paho
    except ImportError as error:
        raise MissingPackageError(
            "mqtt:// needs paho-mqtt, which is not installed: pip install 'edgekit[mqtt]'"
        ) from error
    return paho
