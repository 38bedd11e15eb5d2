"""`edgekit calibrate --camera`: frames to calibrate on, from a camera or a stream."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.cli.options import print_json, say

if TYPE_CHECKING:
    from edgekit.cli.calibrate import CalibrateCommand
    from edgekit.sources.frame_recorder import Recording


def record(given: CalibrateCommand) -> None:
    """Record the frames, with progress, and print what came of it."""
    from edgekit.cli.progress import Steps
    from edgekit.cli.run import keep_output_apart
    from edgekit.runtime.stop_signals import stop_on_signals
    from edgekit.sources.frame_recorder import (
        COUNT,
        EVERY_S,
        LIMIT_S,
        format_recording,
        record_frames,
    )
    from edgekit.sources.open_source import make_source

    named, output = _check_recording(given)
    if named.startswith("csi:"):
        keep_output_apart()
    count = given.count or COUNT

    def show(recording: Recording) -> None:
        steps.update(recording.kept, count)

    with Steps(quiet=given.as_json) as steps, stop_on_signals() as stop:
        every_s = given.every or EVERY_S
        source = make_source(named, every_s=every_s, strict=given.strict)
        steps.step(f"recording {count} frames from {source.describe()}")
        recording = record_frames(
            source,
            output,
            count=count,
            every_s=every_s,
            limit_s=given.limit or LIMIT_S,
            stop=stop,
            on_progress=show,
        )
    for text in filter(None, (source.describe().note, source.describe().damaged)):
        say(f"note: {text}")
    if given.as_json:
        print_json(recording)
    else:
        say(format_recording(recording))


def _check_recording(given: CalibrateCommand) -> tuple[str, Path]:
    """The one source, and the folder that its frames go to."""
    from edgekit.errors import SettingsError

    if given.output is None:
        raise SettingsError("the frames need a folder to go to: add -o DIR")
    if given.camera is not None and given.source is not None:
        raise SettingsError(
            f"--camera {given.camera} and --source {given.source} are two sources: expected one"
        )
    named = given.camera if given.source is None else given.source
    assert named is not None
    return named, given.output
