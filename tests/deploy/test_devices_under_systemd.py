"""systemd itself holds a line's unit to the recorded machines: which nodes does it let a process open?

systemd runs as the first process of namespaces of its own, with a record's /proc/devices, and nodes of its
numbers. No driver stands behind most of them. So opening one ends in ENXIO or ENODEV where systemd and the
node's permissions allow it, in EPERM where systemd does not, and in EACCES where the permissions do not.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from device_policy import Machine, read_machine

UNIT = (Path(__file__).parents[2] / "deploy/systemd/linejudge@.service").read_text()
RECORDS = sorted(Path(__file__).parent.glob("machines/*.txt"))
SYSTEMD = shutil.which("systemd") or "/lib/systemd/systemd"
GROUPS = {"dialout": 20, "video": 44, "render": 104}  # numbers as on Ubuntu; the names are what counts

pytestmark = [
    pytest.mark.built,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make namespaces with devices"),
    pytest.mark.skipif(not Path(SYSTEMD).exists(), reason="no systemd: apt-get install systemd"),
]

#: In a control group of its own, since rules that were attached to a group stay with it.
START = """
set -e
mount -t cgroup2 none /sys/fs/cgroup
own=/sys/fs/cgroup/linejudge-$$
mkdir "$own"
echo $$ > "$own/cgroup.procs"
unshare --mount --net --pid --cgroup --fork --kill-child --mount-proc sh -c "$boot" || true
echo $$ > /sys/fs/cgroup/cgroup.procs
find "$own" -depth -type d -exec rmdir {} +
"""

BOOT = """
set -e
umount /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
cp "$here"/probe.service "$here"/probe.target /run/systemd/system/
mount -t tmpfs -o mode=755 tmpfs /dev
sh "$here/nodes"
mount --bind "$here/group" /etc/group
mount --bind "$here/devices" /proc/devices
exec env container=test "$systemd" --system --unit=probe.target --log-target=console
"""

TARGET = "[Unit]\nDefaultDependencies=no\nWants=probe.service\nAfter=probe.service\n"

PROBE = """
[Unit]
DefaultDependencies=no
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
TimeoutStartSec=20
User=nobody
{rules}
StandardOutput=file:{here}/said
StandardError=inherit
ExecStart=/bin/sh {here}/open
"""


ALLOWED = {"No such device or address", "No such device", "opened"}
SHUT = "Operation not permitted"
NOT_OF_THE_GROUP = "Permission denied"


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user may enter. Another run of pytest may shut those of `tmp_path` at any time."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_cuda_may_open_all_that_it_opens(place: Path) -> None:
    """On each recorded machine the unit's process reaches the driver of each node that CUDA opens."""
    for record in RECORDS:
        machine = read_machine(record)
        said = opened(record, machine.opened, UNIT, place / record.stem)
        assert set(said) == set(machine.opened), record.stem
        assert set(said.values()) <= ALLOWED, record.stem


def test_what_has_no_rule_or_group_stays_shut(place: Path) -> None:
    """Without its rule a GPU's node stays shut, without its group too, and one of root's in any case."""
    orin, x86 = (next(path for path in RECORDS if path.stem.startswith(kind)) for kind in ("orin", "x86"))
    bare = UNIT.replace("DeviceAllow=char-*.gpu rw\n", "").replace(
        "Groups=video render dialout\n", "Groups=video\n"
    )
    asked = {**read_machine(orin).opened, "/dev/nvgpu/igpu0/sched": "rw"}
    said = opened(orin, asked, bare, place / "orin")
    assert said.pop("/dev/nvmap") in ALLOWED
    assert said.pop("/dev/host1x-fence") in ALLOWED
    assert said == {
        "/dev/nvgpu/igpu0/ctrl": SHUT,
        "/dev/nvgpu/igpu0/power": SHUT,
        "/dev/nvgpu/igpu0/sched": NOT_OF_THE_GROUP,
        "/dev/dri/renderD128": NOT_OF_THE_GROUP,
    }
    asked = {**read_machine(x86).opened, "/dev/nvme0n1": "r"}
    said = opened(x86, asked, UNIT.replace("DeviceAllow=char-nvidia* rw\n", ""), place / "x86")
    assert said.pop("/dev/nvme0n1") == NOT_OF_THE_GROUP
    assert said == dict.fromkeys(read_machine(x86).opened, SHUT)


def opened(record: Path, asked: dict[str, str], unit: str, here: Path) -> dict[str, str]:
    """What the process of a unit is told for each path that it opens on a machine."""
    machine = read_machine(record)
    here.mkdir()
    here.chmod(0o755)
    text = re.search(r"^== /proc/devices\n(.+?)\n\n==", record.read_text(), re.MULTILINE | re.DOTALL)[1]
    (here / "devices").write_text(f"{text}\n")
    (here / "group").write_text("".join(f"{name}:x:{number}:\n" for name, number in GROUPS.items()) + OTHERS)
    (here / "nodes").write_text("".join(BASE) + "".join(made(path, machine) for path in machine.nodes))
    (here / "open").write_text("".join(tried(path, mode) for path, mode in asked.items()) + "echo end\n")
    rules = re.findall(r"^(?:DevicePolicy|DeviceAllow|SupplementaryGroups)=.+$", unit, re.MULTILINE)
    (here / "probe.service").write_text(PROBE.format(rules="\n".join(rules), here=here))
    (here / "probe.target").write_text(TARGET)
    environment = {
        "PATH": os.environ["PATH"],
        "here": str(here),
        "boot": BOOT,
        "systemd": SYSTEMD,
        "LC_ALL": "C",
    }
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", START], env=environment, capture_output=True, text=True, timeout=60
    )
    said = here / "said"
    if not said.exists():
        pytest.skip(f"systemd cannot run in namespaces here: {(done.stdout + done.stderr)[-300:]}")
    assert said.read_text().endswith("end\n"), done.stdout + done.stderr
    answers = re.findall(r"cannot (?:open|create) (\S+): (.+)$", said.read_text(), re.MULTILINE)
    return dict(answers)


#: The nodes that systemd and a shell need.
BASE = [
    f"mknod -m 666 /dev/{name} c {numbers}\n"
    for name, numbers in {"null": "1 3", "zero": "1 5", "full": "1 7", "urandom": "1 9", "tty": "5 0"}.items()
]
OTHERS = "root:x:0:\nnogroup:x:65534:\ndisk:x:6:\n"


def made(path: str, machine: Machine) -> str:
    """The commands that make a node of a record."""
    node = machine.nodes[path]
    mode = "".join("0" if letter == "-" else "1" for letter in node.permissions)
    number = {**GROUPS, "root": 0, "disk": 6}[node.group]
    major, minor = node.numbers
    return (
        f"mkdir -p {Path(path).parent} && rm -f {path}\n"
        f"mknod -m {int(mode, 2):o} {path} {node.kind} {major} {minor} && chown 0:{number} {path}\n"
    )


def tried(path: str, mode: str) -> str:
    """A command that opens a path and says what came of it, in the shell's own words if it failed."""
    return f"(exec 3{'<>' if mode == 'rw' else '<'}{path} && echo 'cannot open {path}: opened') 2>&1\n"
