"""Words from elsewhere, made fit for a line of a terminal or a log."""

from __future__ import annotations


def one_line(text: str) -> str:
    """`text` on one line, with nothing in it that a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))


def is_utf8(name: str) -> bool:
    """Whether a file's name can be written as UTF-8; OpenCV crashes on one that cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
