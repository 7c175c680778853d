"""How many files and connections a process may have open at once: as many as the system grants."""

from __future__ import annotations

import contextlib
import resource

MOST = 65_536  # each costs the kernel memory


def raise_limit() -> None:
    """Let this process and those that it starts have as many as the system grants."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(MOST, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # the old limit does, too, where there is no crowd
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
