"""What GStreamer itself can say, asked of its C library: OpenCV passes on neither what is missing
nor what went wrong, and PyGObject is not everywhere.

https://gstreamer.freedesktop.org/documentation/gstreamer/gstinfo.html
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import re

_LIBRARY = "libgstreamer-1.0.so.0"
_ERRORS = b"GST_ERROR_SYSTEM"
_LEVEL_INFO = 4
_LOG_BYTES = 16_384
"""Kept for each thread, which is forgotten when it was quiet for so many seconds."""
_LOG_SECONDS = 60
_LINE = re.compile(r"^(\S+) .*<([^<>]+)> posted error message: (.*)$", re.MULTILINE)


@functools.cache
def _load() -> ctypes.CDLL | None:
    """The library, initialised; None where it has another name or lies inside OpenCV."""
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return None
    library.gst_element_factory_find.restype = ctypes.c_void_p
    return library if library.gst_init_check(None, None, None) else None


def list_missing_elements(pipeline: str) -> list[str]:
    """The elements of `pipeline` that are not installed; none where GStreamer cannot be asked.

    Ask first: OpenCV 4.6 waits for ever on a pipeline that lacks its first element.
    """
    library = _load()
    if library is None:
        return []
    names = [part.split()[0] for part in pipeline.split("!")]
    return [
        name
        for name in names
        if "/" not in name and not library.gst_element_factory_find(name.encode())
    ]


class ErrorLog:
    """The errors that elements of this process report from now on, where nobody reads their bus.

    An element that goes round GStreamer's error function is not heard: nvarguscamerasrc does so
    once frames flow.
    """

    def __init__(self) -> None:
        self._before = max(_read_errors(), default=("", ""))

    def first(self) -> str | None:
        """The first of them, as `element: text`: those behind it are its consequences."""
        later = (error for error in _read_errors() if error > self._before)
        return min(later, default=("", None))[1]


def _read_errors() -> list[tuple[str, str]]:
    """When each came, fit for sorting, and what it says. GStreamer keeps a text for each thread."""
    library = _start_log()
    if library is None:
        return []
    texts = library.gst_debug_ring_buffer_logger_get_logs()
    if not texts:  # built without its debugging functions
        return []
    found = [
        (when.zfill(24), f"{element}: {text.strip()}")
        for log in itertools.takewhile(lambda text: text is not None, texts)
        for when, element, text in _LINE.findall(log.decode("utf-8", "replace"))
    ]
    library.g_strfreev(texts)
    return found


@functools.cache
def _start_log() -> ctypes.CDLL | None:
    """Have errors kept in memory in place of printed, a bounded number of them.

    Whoever set GST_DEBUG wants to read along, so nothing is changed then.
    """
    library = _load()
    if library is None or any(name.startswith("GST_DEBUG") for name in os.environ):
        return None
    library.gst_debug_ring_buffer_logger_get_logs.restype = ctypes.POINTER(ctypes.c_char_p)
    library.gst_debug_add_ring_buffer_logger(_LOG_BYTES, _LOG_SECONDS)
    library.gst_debug_remove_log_function(None)
    library.gst_debug_set_threshold_for_name(_ERRORS, _LEVEL_INFO)
    return library
