"""The output that a text names: a file, a video, an MQTT broker, or a web hook."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from edgekit.errors import OutputError, SettingsError
from edgekit.outputs.base import Output
from edgekit.text import hide_credentials

SECRET = "EDGEKIT_WEBHOOK_SECRET"
"""The environment variable with the secret that web hooks are signed with."""
LINES = (".jsonl", ".csv")
VIDEOS = (".mp4", ".avi", ".mkv")


class OutputContext(NamedTuple):
    """What outputs need to know about the run."""

    class_names: Sequence[str] | None
    """What an answer may be; None for a multi-label network, whose answer is any of them."""
    device: str
    """The board's name, for Home Assistant."""
    fps: float
    """The rate of an annotated video."""
    rotate_bytes: int
    keep_files: int
    wait: bool = False
    """Whether to start without a broker that does not answer yet."""


def open_output(target: str, context: OutputContext) -> Output:
    """Open the output that `target` names, and try it, so that a wrong address shows at the start.

    `target` is FILE.jsonl, FILE.csv, FILE.mp4, `mqtt[s]://…` or `http[s]://…`. Raises OutputError
    when it cannot be reached or written, SettingsError when `target` names none of these,
    MissingPackageError for MQTT without its package.
    """
    scheme = target.partition("://")[0].lower() if "://" in target else ""
    if scheme in ("mqtt", "mqtts"):
        return _open_mqtt(target, context)
    if scheme in ("http", "https"):
        from edgekit.outputs.webhook import WebhookOutput

        secret = os.environ.get(SECRET)
        return WebhookOutput(target, secret=secret.encode() if secret else None)
    path = Path(target)
    if scheme or path.suffix.lower() not in (*LINES, *VIDEOS):
        raise SettingsError(
            f"--output {hide_credentials(target)!r} is not understood: expected"
            " FILE.jsonl, FILE.csv, FILE.mp4, mqtt[s]://HOST/TOPIC or http[s]://HOST/PATH"
        )
    check_writable(path)
    if path.suffix.lower() in VIDEOS:
        from edgekit.outputs.annotated_video import VideoOutput

        return VideoOutput(
            path, fps=context.fps, limit=context.rotate_bytes, keep=context.keep_files
        )
    from edgekit.outputs.result_files import FileOutput

    return FileOutput(path, limit=context.rotate_bytes, keep=context.keep_files)


def _open_mqtt(url: str, context: OutputContext) -> Output:
    from edgekit.outputs.mqtt import MqttOutput, spool_path
    from edgekit.outputs.mqtt_connection import AwayError, Broker
    from edgekit.outputs.spool import Spool

    broker = Broker.parse(url)
    output = MqttOutput(
        broker,
        class_names=context.class_names,
        spool=Spool(spool_path(broker)),
        device=context.device,
    )
    try:
        output.check()
    except AwayError as error:
        if not context.wait:
            raise
        output.problem = str(error)
    return output


def check_writable(path: Path) -> None:
    """Raise OutputError when `path` cannot be appended to; makes no file there."""
    existed = path.exists()
    try:
        with path.open("ab"):
            pass
    except OSError as error:
        raise OutputError(
            f"cannot write {path} ({error.strerror}): expected a place where files can be written"
        ) from error
    if not existed:
        path.unlink()
