"""Against a real broker, Mosquitto: away, back, and under load."""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edgekit.errors import OutputError
from edgekit.outputs import mqtt as module
from edgekit.outputs.base import NumberedResult
from edgekit.outputs.delivery import Delivery
from edgekit.outputs.mqtt import MqttOutput
from edgekit.outputs.mqtt_connection import Broker
from edgekit.outputs.spool import Spool
from tests.environments import skip_or_fail
from tests.outputs.results import make_labels, make_numbered, wait_until
from tests.sources.video_files import wait_for_threads

paho = pytest.importorskip("paho.mqtt.client")
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
TOPIC = "edge/camera"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "RETRY_S", (0.05,))
    monkeypatch.setattr(module, "FLUSH_S", 0.1)
    yield
    assert wait_for_threads("edgekit-") == []


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A broker on the loopback that can be stopped as by a power cut, and started again."""

    def __init__(self, folder: Path, *settings: str) -> None:
        self.port = find_port()
        self._file = folder / "mosquitto.conf"
        lines = [f"listener {self.port} 127.0.0.1", "persistence false", *settings]
        self._file.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if MOSQUITTO is None:
            skip_or_fail("there is no Mosquitto: run `make system-deps` as root")
        self._process = subprocess.Popen(
            [str(MOSQUITTO), "-c", str(self._file)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, "allow_anonymous true")
    server.start()
    yield server
    server.stop()


class Reader:
    """Subscribes to everything, and again whenever the broker is back."""

    def __init__(self, port: int) -> None:
        self.messages: list[tuple[str, bytes, bool]] = []
        self._stop = threading.Event()
        self._port = port
        self.subscribed = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            client = paho.Client(paho.CallbackAPIVersion.VERSION2)
            client.on_connect = lambda client, *more: client.subscribe("#", qos=1)
            client.on_subscribe = lambda *more: self.subscribed.set()
            client.on_message = lambda client, data, message: self.messages.append(
                (message.topic, message.payload, message.retain)
            )
            try:
                client.connect("127.0.0.1", self._port)
                while not self._stop.is_set() and client.loop(0.02) == 0:
                    pass
            except OSError:
                time.sleep(0.01)
            self.subscribed.clear()

    def ids(self) -> list[str]:
        """Of the results seen, in order; one that came twice counts once."""
        seen = (json.loads(body)["id"] for topic, body, _ in self.messages if "/result" in topic)
        return list(dict.fromkeys(seen))

    def last(self, topic: str) -> bytes | None:
        return next((body for name, body, _ in reversed(self.messages) if name == topic), None)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


@contextmanager
def reading(port: int) -> Iterator[Reader]:
    reader = Reader(port)
    try:
        assert reader.subscribed.wait(5)
        yield reader
    finally:
        reader.close()


def make_output(port: int, folder: Path, *, limit: int = 100_000, user: str = "") -> MqttOutput:
    broker = Broker.parse(f"mqtt://{user}127.0.0.1:{port}/{TOPIC}")
    spool = Spool(folder / "spool.sqlite", limit=limit)
    return MqttOutput(broker, class_names=["cat", "dog"], spool=spool, device="a board")


def finish(delivery: Delivery) -> None:
    delivery.begin_end()
    delivery.end(time.monotonic() + 3)


def test_results_availability_and_discovery(server: Server, tmp_path: Path) -> None:
    output = make_output(server.port, tmp_path)
    output.check()
    with reading(server.port) as reader:
        delivery = Delivery(output, lambda text: None)
        for numbered in make_numbered(50):
            delivery.put(numbered)
        wait_until(lambda: len(reader.ids()) == 50)
        assert reader.last(f"{TOPIC}/available") == b"online"
        finish(delivery)
        wait_until(lambda: reader.last(f"{TOPIC}/available") == b"offline")
        assert reader.ids() == [f"run-{index}" for index in range(50)]
        found = reader.last("homeassistant/sensor/edgekit_edge_camera/config")
    assert found is not None
    entity: dict[str, Any] = json.loads(found)
    assert entity["options"] == ["cat", "dog"] and entity["device_class"] == "enum"
    assert entity["state_topic"] == f"{TOPIC}/result"
    assert "value_json.score" in entity["json_attributes_template"]
    with reading(server.port) as late:
        wait_until(lambda: late.last(f"{TOPIC}/available") is not None)
        assert all(retained for _, _, retained in late.messages)
        assert late.last(f"{TOPIC}/result") is None


def test_labels_are_text_in_home_assistant(server: Server, tmp_path: Path) -> None:
    """The entity of a multi-label network has no fixed options: any number of labels, or none."""
    jinja2 = pytest.importorskip("jinja2")
    spool = Spool(tmp_path / "spool.sqlite")
    broker = Broker.parse(f"mqtt://127.0.0.1:{server.port}/{TOPIC}")
    output = MqttOutput(broker, class_names=None, spool=spool, device="a board")
    output.check()
    with reading(server.port) as reader:
        delivery = Delivery(output, lambda text: None)
        for number, result in enumerate((make_labels(0, 3), make_labels())):
            delivery.put(NumberedResult(f"run-{number}", result))
        wait_until(lambda: len(reader.ids()) == 2)
        finish(delivery)
        wait_until(
            lambda: reader.last("homeassistant/sensor/edgekit_edge_camera/config") is not None
        )
        entity = json.loads(reader.last("homeassistant/sensor/edgekit_edge_camera/config") or b"")
        sent = [json.loads(body) for topic, body, _ in reader.messages if topic.endswith("/result")]
    assert not {"options", "device_class"} & set(entity)
    state = jinja2.Template(entity["value_template"])
    assert [state.render(value_json=line) for line in sent] == ["class 0; class 3", "none"]
    assert len(state.render(value_json={"label": "x" * 300})) == 255
    environment = jinja2.Environment()
    environment.filters["tojson"] = json.dumps
    attributes = environment.from_string(entity["json_attributes_template"])
    assert json.loads(attributes.render(value_json=sent[0]))["labels"] == ["class 0", "class 3"]
    assert json.loads(attributes.render(value_json=sent[1]))["labels"] == []


def test_the_last_will_tells_of_a_board_that_died(server: Server, tmp_path: Path) -> None:
    output = make_output(server.port, tmp_path)
    output.check()
    output.write(make_numbered(1))
    with reading(server.port) as reader:
        wait_until(lambda: reader.last(f"{TOPIC}/available") == b"online")
        assert output._connection is not None
        output._connection.drop()
        wait_until(lambda: reader.last(f"{TOPIC}/available") == b"offline")
    output._spool.close()


@pytest.mark.slow
def test_twenty_broker_losses_under_load(server: Server, tmp_path: Path) -> None:
    """Every result arrives, in order."""
    output = make_output(server.port, tmp_path)
    output.check()
    told: list[str] = []
    with reading(server.port) as reader:
        delivery = Delivery(output, told.append)
        count = 0
        for _ in range(20):
            for numbered in make_numbered(60, first=count):
                delivery.put(numbered)
                time.sleep(0.001)
            count += 60
            server.stop()
            for numbered in make_numbered(20, first=count):
                delivery.put(numbered)
            count += 20
            wait_until(lambda: delivery.counts.state == "fails")
            server.start()
            # No broker remembers for a reader that is away: it must be there first.
            assert reader.subscribed.wait(5)
            wait_until(lambda: delivery.counts.state == "works")
        wait_until(lambda: len(reader.ids()) >= count - 20 * 45, 20)
        wait_until(lambda: output._connection is not None and output._connection.is_idle)
        finish(delivery)
        seen = [int(identity.removeprefix("run-")) for identity in reader.ids()]
    assert seen == sorted(seen)
    assert seen[-1] == count - 1
    assert delivery.counts.dropped == 0
    assert len([line for line in told if "fails" in line]) == 20


def test_results_wait_on_disk_and_outlive_the_program(tmp_path: Path, server: Server) -> None:
    output = make_output(server.port, tmp_path)
    output.check()
    server.stop()
    delivery = Delivery(output, lambda text: None)
    for numbered in make_numbered(300):
        delivery.put(numbered)
    wait_until(lambda: count_rows(tmp_path / "spool.sqlite") == 300)
    finish(delivery)
    server.start()
    with reading(server.port) as reader:
        again = make_output(server.port, tmp_path)
        again.check()
        delivery = Delivery(again, lambda text: None)
        for numbered in make_numbered(10, first=300):
            delivery.put(numbered)
        wait_until(lambda: len(reader.ids()) == 310)
        finish(delivery)
        assert reader.ids() == [f"run-{index}" for index in range(310)]
    assert count_rows(tmp_path / "spool.sqlite") == 0


def count_rows(path: Path) -> int:
    with sqlite3.connect(path) as database:
        return int(database.execute("SELECT COUNT(*) FROM waiting").fetchone()[0])


@pytest.mark.slow
def test_beyond_the_bound_the_oldest_are_dropped_and_counted(
    tmp_path: Path, server: Server
) -> None:
    output = make_output(server.port, tmp_path, limit=100)
    output.check()
    server.stop()
    delivery = Delivery(output, lambda text: None)
    for numbered in make_numbered(350):
        delivery.put(numbered)
        time.sleep(0.001)
    wait_until(lambda: delivery.counts.dropped == 250)
    server.start()
    with reading(server.port) as reader:
        wait_until(lambda: len(reader.ids()) > 0 or count_rows(tmp_path / "spool.sqlite") == 0)
        finish(delivery)
        assert reader.ids() == [f"run-{index}" for index in range(350 - len(reader.ids()), 350)]


def test_a_spool_after_a_power_cut(tmp_path: Path) -> None:
    """A program that is killed right behind `append` has what it was promised."""
    path = tmp_path / "spool.sqlite"
    script = (
        "import os, sys; from pathlib import Path;"
        "from edgekit.outputs.spool import Spool;"
        "spool = Spool(Path(sys.argv[1]));"
        "[spool.append([b'%d-%d' % (n, k) for k in range(50)]) for n in range(10)];"
        "os.kill(os.getpid(), 9)"
    )
    import sys

    killed = subprocess.run([sys.executable, "-c", script, str(path)])
    assert killed.returncode == -9
    spool = Spool(path)
    waiting = spool.first(1000)
    expected = [b"%d-%d" % (n, k) for n in range(10) for k in range(50)]
    assert [document for _, document in waiting] == expected
    spool.remove(waiting[498][0])
    assert [document for _, document in spool.first(10)] == [b"9-49"]
    spool.prepend([b"before", b"it"])
    assert [document for _, document in spool.first(10)] == [b"before", b"it", b"9-49"]
    spool.close()


def test_a_damaged_spool_is_told(tmp_path: Path) -> None:
    (tmp_path / "spool.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(OutputError, match=r"cannot be kept in .*spool\.sqlite"):
        Spool(tmp_path / "spool.sqlite").append([b"x"])
