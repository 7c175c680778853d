"""Whoever may not open the GPU is told which node it is and which group opens it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from device_policy import read_machine
from fake_gpu.machine import Machine
from nobody import nobody

from edge.engines.device_nodes import kept_from

ROOT = Path(__file__).parents[3]
GROUP = 54321  # a number that no group of this machine has, as the host's groups in a container

JETSON = ("nvmap", "nvgpu/igpu0/ctrl", "nvgpu/igpu0/power", "dri/renderD128", "host1x-fence")
X86 = ("nvidiactl", "nvidia0", "nvidia-uvm")

MACHINES = {path.stem: read_machine(path) for path in (ROOT / "tests/deploy/machines").glob("*.txt")}
OPENED = [(kind, path) for kind, machine in sorted(MACHINES.items()) for path in machine.opened]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def machine(root: Path, *names: str) -> Path:
    """A machine whose nodes are files of root and of GROUP, as a node's would be: rw-rw----."""
    for name in names:
        node = root / "dev" / name
        node.parent.mkdir(parents=True, exist_ok=True)
        node.touch()
        if os.geteuid() == 0:
            os.chown(node, 0, GROUP)
        node.chmod(0o660)
    return root


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder that every user may enter. Another run of pytest may shut those of `tmp_path` at any time."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize("names", [(), JETSON, X86], ids=["none", "jetson", "x86"])
def test_who_may_open_all_is_told_nothing(root: Path, names: tuple[str, ...]) -> None:
    """A machine without a GPU, or with one that this process may use, gives no reason."""
    assert kept_from(machine(root, *names)) == ""


@needs_root
@pytest.mark.parametrize("name", [*JETSON, *X86])
def test_the_node_and_its_group_are_named(root: Path, name: str) -> None:
    """Without the group of the one node that is kept from it, a user is told this node and this group."""
    names = JETSON if name in JETSON else X86
    machine(root, *names)
    for other in names:
        if other != name:
            (root / "dev" / other).chmod(0o666)
    with nobody():
        said = kept_from(root)
    assert said.startswith(f"{root}/dev/{name}: permission denied: add this user to its group {GROUP} ")
    assert f"`--group-add {GROUP}`" in said
    with nobody(GROUP):
        assert kept_from(root) == ""


@needs_root
def test_a_group_that_has_a_name_is_called_by_it(root: Path) -> None:
    """On the host itself the group's name is told."""
    machine(root, *JETSON)
    os.chown(root / "dev/nvmap", 0, 0)
    with nobody():
        assert "usermod --append --groups root USER" in kept_from(root)


@needs_root
@pytest.mark.parametrize(("machine", "path"), OPENED, ids=[f"{kind} {path}" for kind, path in OPENED])
def test_every_node_that_cuda_opens_is_looked_at(root: Path, machine: str, path: str) -> None:
    """Of each recorded machine, no node that CUDA opens can be shut without being named."""
    for other in MACHINES[machine].nodes:
        node = root / other[1:]
        node.parent.mkdir(parents=True, exist_ok=True)
        node.touch()
        node.chmod(0 if other == path else 0o666)
    with nobody():
        assert kept_from(root).startswith(f"{root}{path}: permission denied: its mode is 000")


@needs_root
def test_nvmap_is_only_read(root: Path) -> None:
    """JetPack lets the group video read /dev/nvmap and not write it, which is enough for CUDA."""
    machine(root, *JETSON)
    (root / "dev/nvmap").chmod(0o440)
    with nobody(GROUP):
        assert kept_from(root) == ""


@needs_root
def test_a_node_of_its_owner_alone_needs_another_mode(root: Path) -> None:
    """Where no group could help, no group is told."""
    machine(root, *X86)
    (root / "dev/nvidia0").chmod(0o600)
    with nobody(GROUP):
        said = kept_from(root)
    assert (
        said == f"{root}/dev/nvidia0: permission denied: its mode is 600: give its group access by a udev rule"
    )


def test_a_box_without_unified_memory_is_told_how_to_make_it(root: Path) -> None:
    """After boot /dev/nvidia-uvm may be missing; on a Jetson CUDA needs none."""
    said = kept_from(machine(root, "nvidiactl", "nvidia0"))
    assert said.startswith(f"{root}/dev/nvidia-uvm is missing")
    assert "systemctl start linejudge-gpu" in said
    assert kept_from(machine(root, *JETSON)) == ""


@needs_root
@pytest.mark.skipif(not shutil.which("chattr"), reason="no chattr: apt-get install e2fsprogs")
def test_a_service_that_shuts_the_node_is_named_as_the_reason(root: Path) -> None:
    """What a device cgroup refuses is no matter of groups. An immutable file refuses by the same error."""
    node = machine(root, *X86) / "dev/nvidia-uvm"
    if subprocess.run(["chattr", "+i", node], capture_output=True).returncode:
        pytest.skip("this file system has no immutable files")
    try:
        said = kept_from(root)
    finally:
        subprocess.run(["chattr", "-i", node], check=True)
    assert said.startswith(f"{node}: the service or container may not open it: use the unit of deploy/systemd")


def test_the_engine_tells_it(bench: Machine, root: Path) -> None:
    """When CUDA finds no GPU, the engine's error names the node that is shut, and a way on without a GPU."""
    machine(root, *X86)
    (root / "dev/nvidia-uvm").unlink()
    script = """
import functools, sys
from pathlib import Path
from edge.engines import cuda
from edge.errors import EngineError

cuda.kept_from = functools.partial(cuda.kept_from, Path(sys.argv[1]))
try:
    cuda.open_device().__enter__()
except EngineError as error:
    print(error)
"""
    said = bench.having(FAKE_CUDA_NO_DEVICE=1).run(script, str(root)).stdout
    assert "no GPU can be used: cuInit failed: " in said
    assert f"{root}/dev/nvidia-uvm is missing" in said
    assert "or set engine.kind to 'auto'" in said
