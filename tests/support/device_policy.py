"""Holds a systemd unit against a recorded machine: which device nodes may its process not open, and why?

The rules are those of systemd's src/core/bpf-devices.c: `char-GLOB` is matched by fnmatch(3) without flags
against the names in /proc/devices and allows all minor numbers of a name's major number; a path allows the
numbers that the node has when the unit starts. One rule alone must give all of the access.
"""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from pathlib import Path

_NODE = re.compile(r"([bc])([rwx-]{9}) +\d+ +(\w+) +(\w+) +(\d+), +(\d+) +(/dev/\S+)")


@dataclass(frozen=True, kw_only=True)
class Node:
    """A device node as `ls -l` shows it: its kind (b or c), permissions as rw-rw----, group and numbers."""

    kind: str
    permissions: str
    group: str
    numbers: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A recorded machine: names by major number, nodes by path, and the access that CUDA asks for, by path."""

    names: list[tuple[int, str]]
    nodes: dict[str, Node]
    opened: dict[str, str]


def read_machine(path: Path) -> Machine:
    """Read a record with the sections `/proc/devices`, `ls -l /dev` and `CUDA opens`."""
    text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("#"))
    sections = dict(re.findall(r"^== (.+)\n((?:(?!== ).*\n?)*)", text, re.MULTILINE))
    nodes = {}
    for line in sections["ls -l /dev"].strip().splitlines():
        found = _NODE.fullmatch(line)
        assert found, f"{path}: this line of `ls -l /dev` cannot be read: {line}"
        kind, permissions, _, group, major, minor, node = found.groups()
        numbers = (int(major), int(minor))
        nodes[node] = Node(kind=kind, permissions=permissions, group=group, numbers=numbers)
    listed = sections["/proc/devices"].partition("Character devices:\n")[2].partition("\n\n")[0]
    return Machine(
        names=[(int(major), name) for major, name in re.findall(r"^ *(\d+) (.+)$", listed, re.MULTILINE)],
        nodes=nodes,
        opened={path: access for access, path in re.findall(r"^(\w+) +(\S+)$", sections["CUDA opens"], re.M)},
    )


def denied(unit: str, machine: Machine) -> dict[str, str]:
    """Return the nodes that CUDA opens on a machine and a unit's process may not, each with the reason."""
    assert "DevicePolicy=closed\n" in unit
    rules = [rule.split() for rule in re.findall(r"^DeviceAllow=(.+)$", unit, re.MULTILINE)]
    groups = " ".join(re.findall(r"^SupplementaryGroups=(.+)$", unit, re.MULTILINE)).split()
    reasons = {}
    for path, access in machine.opened.items():
        node = machine.nodes.get(path)
        if node is None:
            reasons[path] = "missing"
        elif not any(set(access) <= set(given) and _matches(rule, node, machine) for rule, given in rules):
            reasons[path] = "no DeviceAllow"
        elif not set(access) <= set(node.permissions[3:6] if node.group in groups else node.permissions[6:9]):
            reasons[path] = f"not in group {node.group}"
    return reasons


def _matches(rule: str, node: Node, machine: Machine) -> bool:
    if rule.startswith("/dev/"):
        named = machine.nodes.get(rule)
        return named is not None and (named.kind, named.numbers) == (node.kind, node.numbers)
    kind, _, glob = rule.partition("-")
    if kind != "char" or node.kind != "c":
        return False
    return any(major == node.numbers[0] and _fnmatch(glob, name) for major, name in machine.names)


def _fnmatch(glob: str, name: str) -> bool:
    return ctypes.CDLL(None).fnmatch(glob.encode(), name.encode(), 0) == 0
