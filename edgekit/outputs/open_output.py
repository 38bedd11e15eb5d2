"""Outputs by how they are spelled on the command line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from edgekit.errors import OutputError, SettingsError
from edgekit.outputs.base import Output
from edgekit.text import hide_credentials

SECRET = "EDGEKIT_WEBHOOK_SECRET"
LINES = (".jsonl", ".csv")
VIDEOS = (".mp4", ".avi", ".mkv")


class OutputContext(NamedTuple):
    """What outputs need to know of the run."""

    class_names: Sequence[str]
    device: str
    fps: float
    """Of an annotated video of a source that does not say."""
    rotate_bytes: int
    keep_files: int
    wait: bool = False
    """Whether to begin without a broker that is not there yet."""


def open_output(target: str, context: OutputContext) -> Output:
    """`FILE.jsonl`, `FILE.csv`, `FILE.mp4`, `mqtt[s]://…` or `http[s]://…`.

    Each is tried once, so that a wrong address or password is told at the start. Raises OutputError
    or SettingsError.
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
    from edgekit.outputs.mqtt import (
        AwayError,
        Broker,
        MqttOutput,
        spool_path,
    )
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
    """Raise OutputError when no file can be appended to at `path`; leaves none behind."""
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
