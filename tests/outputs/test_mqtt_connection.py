"""The connection to a real broker, Mosquitto: logging in, TLS, and brokers that are not there."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.errors import OutputError
from edgekit.outputs import mqtt_connection as module
from edgekit.outputs.mqtt import MqttOutput
from edgekit.outputs.mqtt_connection import Broker
from edgekit.outputs.spool import Spool
from tests.outputs.results import make_numbered
from tests.outputs.test_mqtt import TOPIC, Server, count_rows, find_port, make_output
from tests.sources.video_files import wait_for_threads


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    assert wait_for_threads("edgekit-") == []


def test_password(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "pi", "hunter2"], check=True)
    passwords.chmod(0o644)
    server = Server(tmp_path, f"password_file {passwords}", "allow_anonymous false", "user root")
    server.start()
    try:
        output = make_output(server.port, tmp_path, user="pi:hunter2@")
        output.check()
        output.write(make_numbered(1))
        output.close()
        for user in ("pi:wrong%40secret@", ""):
            with pytest.raises(OutputError) as caught:
                make_output(server.port, tmp_path, user=user).check()
            assert "refuses the connection (Not authorized)" in str(caught.value)
            assert "secret" not in str(caught.value)
    finally:
        server.stop()


def test_tls(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost"),
        ],
        check=True,
        capture_output=True,
    )
    key.chmod(0o644)
    server = Server(
        tmp_path, "allow_anonymous true", f"certfile {certificate}", f"keyfile {key}", "user root"
    )
    server.start()
    try:
        url = f"mqtts://localhost:{server.port}/{TOPIC}"
        spool = Spool(tmp_path / "spool.sqlite")
        trusted = Broker.parse(f"{url}?ca={certificate}")
        output = MqttOutput(trusted, class_names=["a"], spool=spool, device="a board")
        output.check()
        output.write(make_numbered(3))
        output.close()
        assert count_rows(tmp_path / "spool.sqlite") == 0
        stranger = MqttOutput(Broker.parse(url), class_names=["a"], spool=spool, device="b")
        with pytest.raises(OutputError, match="has no TLS that can be trusted"):
            stranger.check()
    finally:
        server.stop()


def test_a_broker_that_is_not_there(tmp_path: Path) -> None:
    output = make_output(find_port(), tmp_path, user="pi:hunter2@")
    with pytest.raises(OutputError, match=r"cannot reach mqtt://\*\*\*@127\.0\.0\.1"):
        output.check()


def test_what_answers_is_no_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        output = make_output(silent.getsockname()[1], tmp_path)
        with pytest.raises(OutputError, match="does not answer as a broker"):
            output.check()
