"""Makes text from outside the program safe for a line of a terminal or a log.

In: names, error texts and URLs as others wrote them. Out: one line without control characters, or
without credentials.
"""

from __future__ import annotations

import re
from pathlib import Path


def one_line(text: str) -> str:
    """Join `text` to one line and replace its control characters, which a terminal would execute,
    by spaces."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))


def spell_path(path: Path) -> str:
    """The path as a person would type it here: relative where it is below the current folder."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def is_utf8(name: str) -> bool:
    """Whether the name of a file can be encoded as UTF-8. OpenCV crashes on one that cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:/{0,3}")
_SECRET_PARAMETER = re.compile(
    r"(?is)(?<![a-z])(user\w*|login|pass\w*|pwd?|token|\w*key|secret|auth|sig\w*)=[^&/;#]*"
)
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^\s'\"]*")


def hide_credentials(url: str) -> str:
    """Replace the credentials in `url` by `***`.

    They are the user name and password before the host, the whole query (some cameras expect them
    there), and values in the path that are named user, password, token, or the like.
    """
    scheme = match[0] if (match := _SCHEME.match(url)) else ""
    rest = url[len(scheme) :]
    user, at, place = rest.rpartition("@")
    if "?" in user:  # it is undecidable whether the @ belongs to the query or to the password
        return f"{scheme}***"
    without_query = re.sub(r"(?s)\?.*", "?***", f"***@{place}" if at else rest)
    return scheme + _SECRET_PARAMETER.sub(r"\1=***", without_query)


def hide_in_text(text: str) -> str:
    """Replace the credentials in every URL within `text` by `***`."""
    return _URL.sub(lambda match: hide_credentials(match[0]), text)
