"""Raises the number of files and connections that a process may have open to what the system grants."""

from __future__ import annotations

import contextlib
import resource

#: Each open file costs the kernel memory.
MOST = 65_536


def raise_limit() -> None:
    """Let this process, and those that it starts, open up to MOST files, as far as the system grants it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(MOST, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # The old limit is enough without a crowd of subscribers.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
