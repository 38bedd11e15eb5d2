"""Results to an MQTT broker, and through it to Home Assistant.

While the broker cannot be reached, results wait on disk (`spool.py`); they are sent in order when
it is back. A result counts as sent when the broker acknowledged it (QoS 1); one whose
acknowledgement was lost is sent again, with the same `id`.
https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgekit.errors import OutputError
from edgekit.outputs.base import NumberedResult, Output
from edgekit.outputs.delivery import RETRY_S
from edgekit.outputs.mqtt_connection import Broker, BrokerConnection, Connecting, import_paho
from edgekit.outputs.result_json import encode_line
from edgekit.outputs.spool import Spool, SpoolError

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
LONGEST_STATE = 255
"""How many characters Home Assistant takes as a state."""


class MqttOutput(Output):
    """Publishes each result at `TOPIC/result`, retained availability at `TOPIC/available`, and
    where Home Assistant listens, a sensor that has the classes as its options, or of a multi-label
    network the names of all its labels as text.

    `write` accepts every result: those that the broker has not acknowledged were sent, wait in
    memory for up to `FLUSH_S`, or are on disk.

    Args:
        broker: the broker, the topic, and how to log in.
        class_names: the options of Home Assistant's sensor; None for a multi-label network.
        spool: stores results while the broker cannot be reached.
        device: the board's name, for Home Assistant.
    """

    gather_s = 0.02

    def __init__(
        self, broker: Broker, *, class_names: Sequence[str] | None, spool: Spool, device: str
    ) -> None:
        import_paho()
        self.name = broker.shown
        self._broker = broker
        self._class_names = class_names
        self._device = device
        self._spool = spool
        self._connection: BrokerConnection | None = None
        self._connecting: Connecting | None = None
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
        self._connection = BrokerConnection(self._broker)
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
            self._connecting = Connecting(self._broker)
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
        attributes = {name: f"value_json.{name}" for name in ("score", "age_ms", "frame")}
        if self._class_names is None:
            state: dict[str, Any] = {
                "name": "labels",
                "value_template": f"{{{{ value_json.label[:{LONGEST_STATE}] }}}}",
            }
            attributes["labels"] = "value_json.labels | map(attribute='label') | list"
        else:
            state = {
                "name": "class",
                "device_class": "enum",
                "options": list(self._class_names),
                "value_template": "{{ value_json.label }}",
            }
        pairs = ", ".join(f"'{name}': {value}" for name, value in attributes.items())
        return {
            "unique_id": identity,
            **state,
            "state_topic": f"{topic}/result",
            "json_attributes_topic": f"{topic}/result",
            "json_attributes_template": f"{{{{ {{{pairs}}} | tojson }}}}",
            "availability_topic": f"{topic}/available",
            "device": {"identifiers": [identity], "name": self._device, "manufacturer": "edgekit"},
        }


def spool_path(broker: Broker) -> Path:
    """The spool's file for this broker, in edgekit's state folder."""
    from edgekit.outputs.state_folder import state_folder

    name = re.sub(r"[^a-zA-Z0-9.-]", "_", f"{broker.host}-{broker.port}")
    topic = hashlib.sha256(broker.topic.encode()).hexdigest()[:12]
    return state_folder() / f"mqtt-{name}-{topic}.sqlite"
