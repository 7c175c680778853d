"""Users without rights: programs of one whom the machine does not know, and this process as another."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

UNSET = ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "STATE_DIRECTORY")
USER = 54321


def of_nobody(*words: str) -> subprocess.CompletedProcess[str]:
    """What a Python program with these words says; the test is skipped where users cannot be made up."""
    become = ["unshare", "-U", f"--map-user={USER}", f"--map-group={USER}"]
    try:
        able = subprocess.run([*become, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        able = False
    if not able:
        pytest.skip("this machine has no user namespaces")
    unset = [word for name in UNSET for word in ("-u", name)]
    command = [*become, "env", *unset, sys.executable, *words]
    return subprocess.run(command, capture_output=True, text=True)


@contextmanager
def nobody(*groups: int) -> Iterator[None]:
    """Make this process, which must be root's, a user without rights in these groups, until `with` ends."""
    before = os.getgroups()
    os.setgroups(groups)
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before)
