"""`edgekit cameras`: the cameras of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgekit.cli.options import json_option, print_json, say

if TYPE_CHECKING:
    from edgekit.sources.v4l2_devices import VideoDevice


@click.command("cameras")
@json_option
def command(as_json: bool) -> None:
    """List the video devices, and which of them deliver frames. No camera is started."""
    from edgekit.sources.v4l2_devices import list_devices

    devices = list_devices()
    if as_json:
        print_json({"cameras": devices})
        return
    if not devices:
        say("no video device (/dev/video*): plug a camera in, or name a stream with --source URL")
        return
    _print_table(devices)


def _print_table(devices: list[VideoDevice]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("device", "name", "use it as a camera?", "formats"):
        table.add_column(name)
    for device in devices:
        usable = device.problem or ("yes" if device.captures else "no")
        table.add_row(device.path, device.name, usable, " ".join(device.formats))
    Console(highlight=False, markup=False).print(table)
