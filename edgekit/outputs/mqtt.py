"""Results to an MQTT broker, and through it to Home Assistant.

While the broker is away results wait on disk (`spool.py`) and are sent in order when it is back. A
result counts as sent when the broker acknowledged it (QoS 1); one whose acknowledgement was lost is
sent again, with the same `id`. https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
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
from edgekit.outputs.base import Numbered, Output
from edgekit.outputs.delivery import RETRY_S
from edgekit.outputs.result_json import encode_line
from edgekit.outputs.spool import Spool, SpoolError
from edgekit.text import hide_credentials

CONNECT_S = 5.0
KEEPALIVE_S = 30
IN_FLIGHT = 20
"""How many results may be on their way, unacknowledged."""
ACKNOWLEDGE_S = 10.0
"""A broker that acknowledges nothing for so long is gone."""
SEND_S = 0.2
"""How long one call may send before it looks for new results."""
BATCH = 200
"""How many results leave the disk at a time."""
MANY_FRESH = 1_000
"""With more than these in memory the broker is too slow for them: they go to disk."""
MOST_FRESH = 10_000
"""How many results may wait in memory where the disk cannot take them."""
FLUSH_S = 1.0
"""How often results that cannot be sent are put on disk, all at once."""
CLOSE_S = 0.4
_EXAMPLE = "mqtt://[USER:PASSWORD@]HOST[:PORT]/TOPIC, or mqtts:// for TLS"


class AwayError(OutputError):
    """The broker cannot be reached now."""


class Broker(NamedTuple):
    """Where results go."""

    host: str
    port: int
    tls: bool
    topic: str
    user: str | None
    password: str | None
    authority: str | None
    """A file with the certificates that the broker's is held against, instead of the system's."""

    @property
    def shown(self) -> str:
        """Its URL, fit for a log."""
        scheme = "mqtts" if self.tls else "mqtt"
        secret = "***@" if self.user else ""
        return f"{scheme}://{secret}{self.host}:{self.port}/{self.topic}"

    @classmethod
    def parse(cls, url: str) -> Broker:
        """Read a URL; OutputError without its secrets when that fails."""
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
            problem = "has no topic behind its host, or one with + # or @"
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

    It takes every result over at once: those that the broker has not acknowledged are on their way,
    wait in memory for up to `FLUSH_S`, or are on disk.
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
        self._link: _Link | None = None
        self._connecting: _Connecting | None = None
        self._attempts = 0
        self._due_s = self._flushed_s = 0.0
        self._fresh: deque[bytes] = deque()
        """Results that are neither on disk nor on their way."""
        self._spooled = len(spool)
        self._batch: int | None = None
        """The number of the newest of those on disk that are on their way."""

    def check(self) -> None:
        """Connect for the first time. Raises AwayError when there is no broker, OutputError saying
        why it cannot be used."""
        self._link = _Link(self._broker)
        self._link.announce(self._describe())

    def write(self, results: Sequence[Numbered]) -> None:
        """Take results over, send what can be sent, and put on disk what cannot."""
        self._fresh.extend(map(encode_line, results))
        try:
            if self._link is None:
                self._reconnect()
            if self._link is not None:
                self._send(time.monotonic() + SEND_S)
        except SpoolError as error:
            self.problem = str(error)
        except OutputError as error:
            self._lose(str(error))
        else:
            if self._link is not None:
                self.problem = None
        is_slow = len(self._fresh) > MANY_FRESH and self._link is not None and self._link.is_idle
        must_wait = self._link is None or self._spooled or is_slow
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
        self._link = connecting.take()
        self._link.announce(self._describe())
        self._attempts = 0

    def _lose(self, reason: str) -> None:
        """The broker is away: what it did not acknowledge is to be sent again."""
        self._take_back()
        if self._link is not None:
            self._link.drop()
        self._link, self._batch = None, None
        self.problem = reason
        self._due_s = time.monotonic() + RETRY_S[min(self._attempts, len(RETRY_S) - 1)]
        self._attempts += 1

    def _take_back(self) -> None:
        """What was sent from memory and not acknowledged goes before all that waits."""
        if self._link is None or self._batch is not None:
            return  # those are still on disk
        unsure = self._link.unacknowledged()
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
        """Send in order, first what is on disk. Returns when all was acknowledged, or then."""
        link = self._link
        assert link is not None
        link.work(0.0)
        while time.monotonic() < until_s:
            if self._batch is not None and link.is_idle:
                self._spool.remove(self._batch)
                self._batch = None
                self._spooled = len(self._spool)
            if self._spooled and self._batch is None and link.is_idle:
                waiting = self._spool.first(BATCH)
                self._spooled = self._spooled if waiting else 0
                if waiting:
                    self._batch = waiting[-1][0]
                    link.queue([document for _, document in waiting])
            elif not self._spooled and self._fresh and link.is_idle:
                link.queue([self._fresh.popleft() for _ in range(min(BATCH, len(self._fresh)))])
            if link.is_idle:
                return
            link.work(0.02)

    def _flush(self) -> None:
        """Put what waits in memory on disk, in one piece."""
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

    def keep(self, results: Sequence[Numbered]) -> int:
        """Take over what is left; `close` puts on disk what it cannot send."""
        self._fresh.extend(map(encode_line, results))
        return len(results)

    def close(self) -> None:
        """Send what is left for a moment, put the rest on disk, and say goodbye."""
        try:
            if self._link is not None:
                self._send(time.monotonic() + CLOSE_S)
        except OutputError:
            pass
        self._take_back()
        self._flush()
        self.lost += len(self._fresh)
        if self._link is not None:
            self._link.say_goodbye()
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


class _Link:
    """A connection to the broker that stands. Driven by calls of `work`; raises OutputError once it
    is lost."""

    def __init__(self, broker: Broker) -> None:
        paho = _import_paho()
        self._broker = broker
        self._topic = broker.topic
        self._refused: str | None = None
        self._stands = False
        self._waiting: deque[bytes] = deque()
        self._on_the_way: OrderedDict[int, bytes] = OrderedDict()
        self._heard_s = time.monotonic()
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
        while not self._stands and self._refused is None and time.monotonic() < until_s:
            if client.loop(0.1) and self._refused is None:
                break
        if not self._stands:
            self.drop()
            reason = self._refused or f"it does not answer as a broker within {CONNECT_S:g} s"
            raise OutputError(
                f"{broker.shown} refuses the connection ({reason}): check user name, password and"
                " the broker's access rules"
            )

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, more: Any) -> None:
        self._stands = not reason.is_failure
        self._refused = str(reason) if reason.is_failure else None

    def _on_publish(self, client: Any, data: Any, mid: int, reason: Any, more: Any) -> None:
        self._heard_s = time.monotonic()
        self._on_the_way.pop(mid, None)

    def announce(self, discovery: dict[str, Any]) -> None:
        """Say that this board is there, and to Home Assistant what it tells; both retained."""
        where = f"homeassistant/sensor/{discovery['unique_id']}/config"
        self._client.publish(where, msgspec.json.encode(discovery), qos=1, retain=True)
        self._client.publish(f"{self._topic}/available", "online", qos=1, retain=True)

    @property
    def is_idle(self) -> bool:
        """Whether everything queued was acknowledged."""
        return not self._waiting and not self._on_the_way

    def queue(self, documents: Sequence[bytes] | deque[bytes]) -> None:
        self._waiting.extend(documents)

    def unacknowledged(self) -> list[bytes]:
        """What is queued and not known to have arrived, in order."""
        return [*self._on_the_way.values(), *self._waiting]

    def work(self, timeout_s: float) -> None:
        """Send and receive for at most so long."""
        while self._waiting and len(self._on_the_way) < IN_FLIGHT:
            if not self._on_the_way:
                self._heard_s = time.monotonic()
            sent = self._client.publish(f"{self._topic}/result", self._waiting[0], qos=1)
            if sent.rc:
                self._fail("the connection broke")
            self._on_the_way[sent.mid] = self._waiting.popleft()
        if self._client.loop(timeout_s):
            self._fail("the connection broke")
        if self._on_the_way and time.monotonic() - self._heard_s > ACKNOWLEDGE_S:
            self._fail(f"it acknowledged nothing for {ACKNOWLEDGE_S:g} s")

    def _fail(self, reason: str) -> None:
        raise OutputError(f"{self._broker.shown} is gone ({reason}): waiting for it")

    def say_goodbye(self) -> None:
        """Leave the retained word that this board is away. Does not raise."""
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
        """Close the socket without a word: the broker then publishes the last will."""
        socket = self._client.socket()
        if socket is not None:
            socket.close()


class _Connecting(Background):
    """An attempt to connect, in a thread: name servers and handshakes take their time."""

    def __init__(self, broker: Broker) -> None:
        super().__init__("edgekit-connect", self._connect)
        self._broker = broker
        self._link: _Link | None = None
        self.start()

    def _connect(self) -> None:
        self._link = _Link(self._broker)

    def take(self) -> _Link:
        """The link, once the thread has ended; raises what it raised."""
        self.finish(0)
        assert self._link is not None
        return self._link


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
    """Where results for this broker wait: in edgekit's cache folder, or `$EDGEKIT_STATE`."""
    from edgekit.outputs.state_folder import state_folder

    name = re.sub(r"[^a-zA-Z0-9.-]", "_", f"{broker.host}-{broker.port}")
    topic = hashlib.sha256(broker.topic.encode()).hexdigest()[:12]
    return state_folder() / f"mqtt-{name}-{topic}.sqlite"
