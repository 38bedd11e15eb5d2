"""Missing elements and errors of GStreamer, from its C library.

OpenCV reports neither, and PyGObject is not installed everywhere.

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
"""The size of the log of each thread, which is deleted `_LOG_SECONDS` after its last entry."""
_LOG_SECONDS = 60
_LINE = re.compile(r"^(\S+) .*<([^<>]+)> posted error message: (.*)$", re.MULTILINE)


@functools.cache
def _load() -> ctypes.CDLL | None:
    """The library, initialised; None where it has another name or is inside OpenCV."""
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return None
    library.gst_element_factory_find.restype = ctypes.c_void_p
    return library if library.gst_init_check(None, None, None) else None


def list_missing_elements(pipeline: str) -> list[str]:
    """The elements of `pipeline` that are not installed; none where the library cannot be loaded.

    Call it first: OpenCV 4.6 waits for ever on a pipeline that lacks its first element.
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
    """The errors that elements of this process report from now on, where no one reads their bus.

    It misses the errors of elements that do not use GStreamer's error function, as nvarguscamerasrc
    once frames flow.
    """

    def __init__(self) -> None:
        self._before = max(_read_errors(), default=("", ""))

    def first(self) -> str | None:
        """The first error, as `element: text`; later ones are its consequences."""
        later = (error for error in _read_errors() if error > self._before)
        return min(later, default=("", None))[1]


def _read_errors() -> list[tuple[str, str]]:
    """The time of each error, as text that sorts, and its message, from the logs of all threads."""
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
    """Keep a bounded number of errors in memory instead of printing them.

    Does nothing when GST_DEBUG is set: then the user wants them printed.
    """
    library = _load()
    if library is None or any(name.startswith("GST_DEBUG") for name in os.environ):
        return None
    library.gst_debug_ring_buffer_logger_get_logs.restype = ctypes.POINTER(ctypes.c_char_p)
    library.gst_debug_add_ring_buffer_logger(_LOG_BYTES, _LOG_SECONDS)
    library.gst_debug_remove_log_function(None)
    library.gst_debug_set_threshold_for_name(_ERRORS, _LEVEL_INFO)
    return library
