"""Finds the device node that keeps CUDA from an NVIDIA GPU, and says what gives this process access to it."""

from __future__ import annotations

import errno
import grp
import os
from pathlib import Path

#: The nodes that CUDA opens, and the mode in which it opens them; strace of CUDA programs showed both
#: (tests/deploy/machines has the sources). Those of a Jetson come first, since it may have both kinds.
ON_A_JETSON = {
    "nvmap": os.O_RDONLY,
    "nvgpu/igpu*/ctrl": os.O_RDWR,
    "nvgpu/igpu*/power": os.O_RDWR,
    "dri/renderD*": os.O_RDWR,
    "host1x-fence": os.O_RDWR,
}
ANYWHERE = {"nvidiactl": os.O_RDWR, "nvidia[0-9]*": os.O_RDWR, "nvidia-uvm": os.O_RDWR}


def kept_from(root: Path = Path("/")) -> str:
    """Return which of the GPU's nodes this process may not open, and a remedy; empty if it may open all.

    `root` is the folder that has /dev. Opening a node changes nothing: it is closed again.
    """
    dev = root / "dev"
    jetson = (dev / "nvmap").exists()
    # On other machines CUDA needs no render node, so one that is shut is no reason.
    for pattern, mode in {**(ON_A_JETSON if jetson else {}), **ANYWHERE}.items():
        for node in sorted(dev.glob(pattern)):
            if said := _refused(node, mode):
                return said
    if not jetson and (dev / "nvidiactl").exists() and not (dev / "nvidia-uvm").exists():
        return (
            f"{dev}/nvidia-uvm is missing, which CUDA needs: run `systemctl start linejudge-gpu`, or as root "
            "`nvidia-modprobe -u -c=0`"
        )
    return ""


def _refused(node: Path, mode: int) -> str:
    try:
        os.close(os.open(node, mode | os.O_CLOEXEC))
    except OSError as error:
        if error.errno == errno.EACCES:
            return f"{node}: permission denied: {_remedy(node, mode)}"
        if error.errno == errno.EPERM:  # of the device cgroup
            return (
                f"{node}: the service or container may not open it: use the unit of deploy/systemd, or give "
                "the container the device (docker run --runtime nvidia, or --gpus all)"
            )
    return ""


def _remedy(node: Path, mode: int) -> str:
    """Return what lets this process open a node: its group, if the group may do so, or another mode."""
    status = node.stat()
    needed = 0o060 if mode == os.O_RDWR else 0o040
    if status.st_mode & needed != needed or status.st_gid in {os.getegid(), *os.getgroups()}:
        return f"its mode is {status.st_mode & 0o777:03o}: give its group access by a udev rule"
    try:
        group = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        group = str(status.st_gid)
    return (
        f"add this user to its group {group} (`usermod --append --groups {group} USER`, then log in anew); a "
        f"container needs the group's number (`--group-add {status.st_gid}`, in compose.yml `group_add`)"
    )
