"""Reads text files in the encodings that editors and spreadsheets write."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte-order mark → encoding."""


def read_text(path: Path) -> tuple[str, str | None]:
    """Read a text file, and name its encoding where it is neither UTF-8 nor UTF-16.

    Raises OSError when it cannot be read, ValueError when it is not text.
    """
    content = path.read_bytes()
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), None)
    if encoding is None and content[1::2].count(0) > len(content) // 4:
        encoding = "utf-16-le"
    elif encoding is None and content[::2].count(0) > len(content) // 4:
        encoding = "utf-16-be"
    try:
        return content.decode(encoding or "utf-8"), None
    except UnicodeDecodeError as error:
        if encoding is not None or re.search(rb"[\x00-\x08\x0e-\x1f\x7f]", content):
            raise ValueError("it is not text") from error
    return content.decode("cp1252", errors="replace"), "Windows-1252"
