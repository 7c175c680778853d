"""The tree in docs/architecture.md names the files that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def named() -> list[str]:
    """The paths of the files in the tree: a line ends with `/` at its folder, or names files of one folder."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    (tree,) = re.findall(r"^## The tree$.*?^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    folders: list[str] = []
    found = []
    for line in tree.splitlines():
        depth = (len(line) - len(line.lstrip())) // 4
        first, *_ = words = line.split()
        if first.endswith("/"):
            folders[depth:] = [first]
        else:
            found += ["".join(folders[:depth]) + word for word in words]
    return found


def test_the_tree_names_every_file() -> None:
    """It names each module and kernel of both packages once, where it lies, and no file that is gone."""
    there = [
        path.relative_to(ROOT).as_posix()
        for package in ("edge", "trt_build")
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".py", ".cu") and path.name != "__init__.py"
    ]
    assert sorted(named()) == sorted(there)
