"""The command line with a pipeline in the camera's place, read by OpenCV or by PyGObject.

`run_csi_command.py WAY HEAD ARGUMENT...`; WAY is `opencv` or `gobject`.
"""

from __future__ import annotations

import functools
import sys
from unittest import mock

from edgekit.cli import main
from edgekit.sources import csi_jetson, gstreamer_pipeline

way, head, *arguments = sys.argv[1:]
if way == "gobject":
    mock.patch.object(csi_jetson, "choose_reader", gstreamer_pipeline.GObjectReader).start()
source = functools.partial(csi_jetson.CsiSource, head=head, timeout_s=1.5)
mock.patch.object(csi_jetson, "CsiSource", source).start()
sys.argv = ["edgekit", *arguments]
main()
