"""The address of a camera as people may read it: without the password in it."""

from __future__ import annotations

import re

#: Before the last @ of the host's part; a password with an unescaped / in it only shows by a port that is none.
_USER = re.compile(r"(//)(?:[^/?#\s]*|[^/?#\s:\[]+:(?!\d*(?:[/?#\s]|$))\S*)@")
#: Keys of a query (`?pwd=...`) or properties of a GStreamer element (`user-pw=...`).
_KEY = re.compile(
    r"(\b[\w-]*(?:pass?w|pas\b|pass\b|pwd|pw\b|token|secret|auth|credential|key\b|user|login|sig)[\w-]*=)"
    r"""("[^"]*"|'[^']*'|[^\s&;,"']*[^\s&;,"':])""",
    re.IGNORECASE,
)


def shown(address: str) -> str:
    """The text with `***` for each user, password, token and key in it; for details, logs and errors."""
    return _KEY.sub(r"\1***", _USER.sub(r"\1***@", address))
