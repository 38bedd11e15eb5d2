"""Words from elsewhere, made fit for a line of a terminal or a log."""

from __future__ import annotations

import re


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


_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:/{0,3}")


_NAMED = re.compile(
    r"(?is)(?<![a-z])(user\w*|login|pass\w*|pwd?|token|\w*key|secret|auth|sig\w*)=[^&/;#]*"
)


_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^\s'\"]*")


def hide_credentials(url: str) -> str:
    """`url` without user name and password, without its query (some cameras put them there), and
    without what its path calls user, password, token, or the like."""
    scheme = match[0] if (match := _SCHEME.match(url)) else ""
    rest = url[len(scheme) :]
    user, at, place = rest.rpartition("@")
    if "?" in user:  # the @ may belong to the query or to the password: no telling which
        return f"{scheme}***"
    without_query = re.sub(r"(?s)\?.*", "?***", f"***@{place}" if at else rest)
    return scheme + _NAMED.sub(r"\1=***", without_query)


def hide_in_text(text: str) -> str:
    """`text` with the addresses in it fit for a log."""
    return _ADDRESS.sub(lambda match: hide_credentials(match[0]), text)
