"""Addresses fit for a log: without what is nobody's business."""

from __future__ import annotations

import re

_NAMED = re.compile(r"(?is)\b(user\w*|login|pass\w*|pwd|token|key|secret|auth)=[^&/;]*")


def hide_credentials(url: str) -> str:
    """`url` without user name and password, without its query (some cameras put them there), and
    without what its path calls user, password, token, or the like."""
    without_user = re.sub(
        r"(?s)^([a-zA-Z][a-zA-Z0-9+.-]*:/{0,3})?.*@", lambda match: (match[1] or "") + "***@", url
    )
    without_query = re.sub(r"(?s)\?.*", "?***", without_user)
    return _NAMED.sub(r"\1=***", without_query)
