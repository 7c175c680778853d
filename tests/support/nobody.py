"""Programs of a user that the machine does not know and who has no home folder, as in a container."""

from __future__ import annotations

import subprocess
import sys

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
