"""Reads a GStreamer pipeline as the CSI camera's is read, one case a run, and prints what came."""

from __future__ import annotations

import json
import sys
import time
from unittest import mock

from edgekit.errors import EdgekitError
from edgekit.sources import csi_jetson, gstreamer_pipeline
from edgekit.sources.csi_jetson import CsiSource


def main() -> None:
    """`run_csi.py WAY HEAD FRAMES TIMEOUT_S`; WAY is `opencv` or `gobject`."""
    way, head, frames, timeout_s = sys.argv[1:]
    if way == "gobject":
        mock.patch.object(csi_jetson, "choose_reader", gstreamer_pipeline.GObjectReader).start()
    seen = []
    error = None
    began = time.monotonic()
    source = CsiSource("csi://0", head=head, timeout_s=float(timeout_s))
    try:
        source.open()
        for _ in range(int(frames)):
            frame = source.read()
            assert frame is not None
            pixels = frame.pixels
            seen.append(
                {
                    "shape": pixels.shape,
                    "first": pixels[0, 0].tolist(),
                    "same": bool((pixels == pixels[0, 0]).all()),
                    "columns": bool((pixels == pixels[:1]).all()),
                    "index": frame.index,
                    "time_s": frame.time_s,
                }
            )
    except EdgekitError as caught:
        error = str(caught)
    seconds = time.monotonic() - began
    print(json.dumps({"frames": seen, "error": error, "seconds": seconds}))  # noqa: T201
    sys.stdout.flush()
    import os

    os._exit(0)  # a thread may hang in OpenCV


main()
