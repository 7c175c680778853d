"""The systemd units let a line reach its GPU on the machines that were recorded in tests/deploy/machines."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from device_policy import Node, denied, read_machine

SYSTEMD = Path(__file__).parents[2] / "deploy" / "systemd"
UNIT = (SYSTEMD / "linejudge@.service").read_text()
NODES = SYSTEMD / "linejudge-gpu.service"
MACHINES = {path.stem: read_machine(path) for path in Path(__file__).parent.glob("machines/*.txt")}

each_machine = pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES.keys())


def test_three_kinds_of_machine_are_recorded():
    """A missing record would make the tests below pass without looking at anything."""
    assert set(MACHINES) == {"orin-jetpack6", "thor-jetpack7", "x86-nvidia"}
    assert all(len(machine.opened) >= 3 for machine in MACHINES.values())


@each_machine
def test_cuda_may_open_all_that_it_opens(machine):
    """Neither DeviceAllow nor a group keeps CUDA from a node that it opens."""
    assert denied(UNIT, machine) == {}


@pytest.mark.parametrize(
    ("rule", "name", "lost"),
    [
        ("char-*.gpu", "orin-jetpack6", {"/dev/nvgpu/igpu0/ctrl", "/dev/nvgpu/igpu0/power"}),
        ("char-host1x-fence", "orin-jetpack6", {"/dev/host1x-fence"}),
        ("/dev/nvmap", "orin-jetpack6", {"/dev/nvmap"}),
        ("char-drm", "orin-jetpack6", {"/dev/dri/renderD128"}),
        (
            "char-????:??:??.?",
            "thor-jetpack7",
            {"/dev/nvgpu/igpu-0000:01:00.0/ctrl", "/dev/nvgpu/igpu-0000:01:00.0/power"},
        ),
        ("char-nvidia*", "x86-nvidia", {"/dev/nvidiactl", "/dev/nvidia0", "/dev/nvidia-uvm"}),
    ],
)
def test_without_its_rule_a_node_is_kept_from_cuda(rule, name, lost):
    """Each rule for a GPU is needed, and the reader of the rules sees that one is missing."""
    assert f"DeviceAllow={rule} rw\n" in UNIT
    without = denied(UNIT.replace(f"DeviceAllow={rule} rw\n", ""), MACHINES[name])
    assert without == dict.fromkeys(lost, "no DeviceAllow")


def test_an_orin_of_an_older_device_tree_is_served():
    """Where the GPU is called 17000000.ga10b, as up to JetPack 5, CUDA may open it too."""
    orin = MACHINES["orin-jetpack6"]
    older = [(major, name.replace("17000000.gpu", "17000000.ga10b")) for major, name in orin.names]
    assert older != orin.names
    assert denied(UNIT, replace(orin, names=older)) == {}


@pytest.mark.parametrize(("group", "kept"), [("video", "/dev/nvmap"), ("render", "/dev/dri/renderD128")])
def test_without_its_group_a_node_is_kept_from_cuda(group, kept):
    """On a Jetson the line's user needs both groups."""
    unit = UNIT.replace("SupplementaryGroups=video render dialout\n", "")
    other = {"video": "render", "render": "video"}[group]
    reasons = denied(unit + f"SupplementaryGroups={other}\n", MACHINES["orin-jetpack6"])
    assert reasons[kept] == f"not in group {group}"


def test_a_disk_of_a_gpus_number_is_not_opened():
    """Block devices stay shut, though the NVMe disk has a number that a character device could have."""
    box = MACHINES["x86-nvidia"]
    assert denied(UNIT, replace(box, opened={"/dev/nvme0n1": "r"})) == {"/dev/nvme0n1": "no DeviceAllow"}


@pytest.mark.parametrize(
    ("name", "major"), [("ttyUSB", 188), ("ttyACM", 166), ("ttyS", 4), ("ttyAMA", 204), ("ttyTHS", 238)]
)
def test_a_line_may_read_its_encoder(name, major):
    """The line's user may open the serial port of an encoder, as Debian, Ubuntu and JetPack make it."""
    box, path = MACHINES["x86-nvidia"], f"/dev/{name}0"
    port = Node(kind="c", permissions="rw-rw----", group="dialout", numbers=(major, 0))
    with_port = replace(box, names=[(major, name)], nodes={path: port}, opened={path: "r"})
    assert denied(UNIT, with_port) == {}
    without = UNIT.replace(f"DeviceAllow=char-{name} r\n", "")
    assert denied(without, with_port) == {path: "no DeviceAllow"}


def test_a_line_starts_after_the_gpus_nodes_are_made():
    """The line's rules are read when it starts, so /dev/nvidia-uvm must have its number by then."""
    assert "Wants=linejudge-gpu.service\n" in UNIT
    assert re.search(r"^After=.*\blinejudge-gpu\.service$", UNIT, re.MULTILINE)
    assert "ConditionPathExists=/usr/bin/nvidia-modprobe\n" in NODES.read_text()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze: apt-get install systemd")
def test_systemd_has_nothing_to_say_about_the_nodes(tmp_path):
    """Every key of the unit that makes the nodes is known."""
    copy = tmp_path / NODES.name
    copy.write_text(NODES.read_text().replace("=/usr/bin/nvidia-modprobe", "=/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", copy], text=True, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_helper_makes_a_node_for_each_gpu(tmp_path):
    """The helper is called for nvidiactl, for each GPU's own number, and for unified memory."""
    said = tmp_path / "said"
    helper = tmp_path / "nvidia-modprobe"
    helper.write_text(f'#!/bin/sh\necho "$@" >> {said}\n')
    helper.chmod(0o755)
    for address, minor in (("0000:06:00.0", 3), ("0000:09:00.0", 7)):
        information = tmp_path / "gpus" / address / "information"
        information.parent.mkdir(parents=True)
        information.write_text(f"Model: \t\t NVIDIA L4\nIRQ:   \t\t 92\nDevice Minor: \t {minor}\n")
    text = NODES.read_text().replace("/usr/bin/nvidia-modprobe", str(helper))
    for command in re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE):
        command = command.replace("/proc/driver/nvidia/gpus", str(tmp_path / "gpus"))
        subprocess.run(["sh", "-c", command], check=True)
    assert said.read_text().splitlines() == ["-c=255", "-c=3 -c=7", "-u -c=0"]
