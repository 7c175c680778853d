"""Hides passwords, tokens and user names in a camera's address, so that logs and errors can show it."""

from __future__ import annotations

import re

#: User and password before the last @ of the host. A password may hold an unescaped /: then what follows the
#: colon is no port.
_USER = re.compile(r"(//)(?:[^/?#\s]*|[^/?#\s:\[]+:(?!\d*(?:[/?#\s]|$))\S*)@")
#: A key of a query (`?pwd=...`) or a property of a GStreamer element (`user-pw=...`), with its value.
_KEY = re.compile(
    r"(\b[\w-]*(?:pass?w|pas\b|pass\b|pwd|pw\b|token|secret|auth|credential|key\b|user|login|sig)[\w-]*=)"
    r"""("[^"]*"|'[^']*'|[^\s&;,"']*[^\s&;,"':])""",
    re.IGNORECASE,
)


def without_secrets(address: str) -> str:
    """Return the text with `***` in place of each user name, password, token and key."""
    return _KEY.sub(r"\1***", _USER.sub(r"\1***@", address))
