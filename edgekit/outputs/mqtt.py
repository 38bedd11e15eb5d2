"""Results to an MQTT broker, and through it to Home Assistant.

While the broker cannot be reached, results wait on disk (`spool.py`); they are sent in order when
it is back. A result counts as sent when the broker acknowledged it (QoS 1); one whose
acknowledgement was lost is sent again, with the same `id`.
https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
"""

from __future__ import annotations

import hashlib
import re
import ssl
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from edgekit.background_thread import Background
from edgekit.errors import MissingPackageError, OutputError
from edgekit.outputs.base import NumberedResult, Output
from edgekit.outputs.delivery import RETRY_S
from edgekit.outputs.result_json import encode_line
from edgekit.outputs.spool import Spool, SpoolError
from edgekit.text import hide_credentials

CONNECT_S = 5.0
KEEPALIVE_S = 30
IN_FLIGHT = 20
"""How many results may be sent and not yet acknowledged."""
ACKNOWLEDGE_S = 10.0
"""A broker that acknowledges nothing for so long counts as lost."""
SEND_S = 0.2
"""How long one call may send before it takes new results."""
BATCH = 200
"""How many results are read from disk at a time."""
MANY_FRESH = 1_000
"""With more than these in memory the broker is too slow: they go to disk."""
MOST_FRESH = 10_000
"""How many results may wait in memory when the disk cannot store them."""
FLUSH_S = 1.0
"""How often results that cannot be sent are written to disk, all at once."""
CLOSE_S = 0.4
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


class MqttOutput(Output):
    """Publishes each result at `TOPIC/result`, retained availability at `TOPIC/available`, and
    where Home Assistant listens, a sensor that has the classes as its options.

    `write` accepts every result: those that the broker has not acknowledged were sent, wait in
    memory for up to `FLUSH_S`, or are on disk.

    Args:
        broker: the broker, the topic, and how to log in.
        class_names: the options of Home Assistant's sensor.
        spool: stores results while the broker cannot be reached.
        device: the board's name, for Home Assistant.
    """

    gather_s = 0.02

    def __init__(
        self, broker: Broker, *, class_names: Sequence[str], spool: Spool, device: str
    ) -> None:
        _import_paho()
        self.name = broker.shown
        self._broker = broker
        self._class_names = class_names
        self._device = device
        self._spool = spool
        self._connection: _BrokerConnection | None = None
        self._connecting: _Connecting | None = None
        self._attempts = 0
        self._due_s = self._flushed_s = 0.0
        self._fresh: deque[bytes] = deque()
        """Results that are neither on disk nor sent."""
        self._spooled = len(spool)
        self._batch: int | None = None
        """The number of the newest result on disk that was sent."""

    def check(self) -> None:
        """Connect for the first time.

        Raises AwayError when the broker cannot be reached, OutputError when it refuses.
        """
        self._connection = _BrokerConnection(self._broker)
        self._connection.announce(self._describe())

    def write(self, results: Sequence[NumberedResult]) -> None:
        """Accept results, send those that can be sent, and store the others on disk."""
        self._fresh.extend(map(encode_line, results))
        try:
            if self._connection is None:
                self._reconnect()
            if self._connection is not None:
                self._send(time.monotonic() + SEND_S)
        except SpoolError as error:
            self.problem = str(error)
        except OutputError as error:
            self._lose(str(error))
        else:
            if self._connection is not None:
                self.problem = None
        is_slow = (
            len(self._fresh) > MANY_FRESH
            and self._connection is not None
            and self._connection.is_idle
        )
        must_wait = self._connection is None or self._spooled or is_slow
        if must_wait and time.monotonic() - self._flushed_s >= FLUSH_S:
            self._flush()
        while len(self._fresh) > MOST_FRESH:
            self._fresh.popleft()
            self.lost += 1

    def _reconnect(self) -> None:
        if self._connecting is None:
            if time.monotonic() < self._due_s:
                return
            self._connecting = _Connecting(self._broker)
        if self._connecting.is_alive():
            return
        connecting, self._connecting = self._connecting, None
        self._connection = connecting.take()
        self._connection.announce(self._describe())
        self._attempts = 0

    def _lose(self, reason: str) -> None:
        """The broker is lost: what it did not acknowledge will be sent again."""
        self._take_back()
        if self._connection is not None:
            self._connection.drop()
        self._connection, self._batch = None, None
        self.problem = reason
        self._due_s = time.monotonic() + RETRY_S[min(self._attempts, len(RETRY_S) - 1)]
        self._attempts += 1

    def _take_back(self) -> None:
        """Put what was sent from memory and not acknowledged before all that waits."""
        if self._connection is None or self._batch is not None:
            return  # those are still on disk
        unsure = self._connection.unacknowledged()
        if not unsure:
            return
        try:
            if self._spooled:
                self._spool.prepend(unsure)
                self._spooled += len(unsure)
                return
        except SpoolError as error:
            self.problem = str(error)
        self._fresh.extendleft(reversed(unsure))

    def _send(self, until_s: float) -> None:
        """Send in order, first what is on disk, until all is acknowledged or time is up."""
        connection = self._connection
        assert connection is not None
        connection.work(0.0)
        while time.monotonic() < until_s:
            if self._batch is not None and connection.is_idle:
                self._spool.remove(self._batch)
                self._batch = None
                self._spooled = len(self._spool)
            if self._spooled and self._batch is None and connection.is_idle:
                waiting = self._spool.first(BATCH)
                self._spooled = self._spooled if waiting else 0
                if waiting:
                    self._batch = waiting[-1][0]
                    connection.queue([document for _, document in waiting])
            elif not self._spooled and self._fresh and connection.is_idle:
                connection.queue(
                    [self._fresh.popleft() for _ in range(min(BATCH, len(self._fresh)))]
                )
            if connection.is_idle:
                return
            connection.work(0.02)

    def _flush(self) -> None:
        """Write what waits in memory to disk, in one transaction."""
        self._flushed_s = time.monotonic()
        if not self._fresh:
            return
        before = self._spool.dropped
        try:
            self._spool.append(list(self._fresh))
            self._fresh.clear()
            self._spooled = len(self._spool)
        except SpoolError as error:
            self.problem = str(error)
        self.lost += self._spool.dropped - before

    def keep(self, results: Sequence[NumberedResult]) -> int:
        """Accept what is left; `close` stores on disk what it cannot send."""
        self._fresh.extend(map(encode_line, results))
        return len(results)

    def close(self) -> None:
        """Send for a moment what is left, store the rest on disk, and disconnect."""
        try:
            if self._connection is not None:
                self._send(time.monotonic() + CLOSE_S)
        except OutputError:
            pass
        self._take_back()
        self._flush()
        self.lost += len(self._fresh)
        if self._connection is not None:
            self._connection.disconnect()
        self._spool.close()

    def _describe(self) -> dict[str, Any]:
        """Home Assistant's discovery document of this sensor."""
        topic = self._broker.topic
        identity = "edgekit_" + re.sub(r"[^a-zA-Z0-9_-]", "_", topic)
        return {
            "unique_id": identity,
            "name": "class",
            "device_class": "enum",
            "options": list(self._class_names),
            "state_topic": f"{topic}/result",
            "value_template": "{{ value_json.label }}",
            "json_attributes_topic": f"{topic}/result",
            "json_attributes_template": (
                "{{ {'score': value_json.score, 'age_ms': value_json.age_ms,"
                " 'frame': value_json.frame} | tojson }}"
            ),
            "availability_topic": f"{topic}/available",
            "device": {"identifiers": [identity], "name": self._device, "manufacturer": "edgekit"},
        }


class _BrokerConnection:
    """An open connection to the broker. It works while `work` is called, which raises OutputError
    once the connection is lost."""

    def __init__(self, broker: Broker) -> None:
        paho = _import_paho()
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


class _Connecting(Background):
    """An attempt to connect, in a thread: name servers and handshakes take time."""

    def __init__(self, broker: Broker) -> None:
        super().__init__("edgekit-connect", self._connect)
        self._broker = broker
        self._connection: _BrokerConnection | None = None
        self.start()

    def _connect(self) -> None:
        self._connection = _BrokerConnection(self._broker)

    def take(self) -> _BrokerConnection:
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


def _import_paho() -> Any:
    try:
        import paho.mqtt.client as paho
    except ImportError as error:
        raise MissingPackageError(
            "mqtt:// needs paho-mqtt, which is not installed: pip install 'edgekit[mqtt]'"
        ) from error
    return paho


def spool_path(broker: Broker) -> Path:
    """The spool's file for this broker, in edgekit's state folder."""
    from edgekit.outputs.state_folder import state_folder

    name = re.sub(r"[^a-zA-Z0-9.-]", "_", f"{broker.host}-{broker.port}")
    topic = hashlib.sha256(broker.topic.encode()).hexdigest()[:12]
    return state_folder() / f"mqtt-{name}-{topic}.sqlite"
