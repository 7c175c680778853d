"""Raises the number of files and connections that this process may have open."""

from __future__ import annotations

import contextlib
import resource

#: The limit is not raised higher than this, because each open file costs the kernel memory.
MOST = 65_536


def raise_limit() -> None:
    """Let this process, and those it starts, have MOST files open, or fewer if the hard limit is lower."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(MOST, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # If that fails, the old limit is enough for a line with few subscribers.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
