"""Writes the tree of both packages into architecture.md: each folder with its first line, and its files."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("edge", "trt_build")
ARCHITECTURE = ROOT / "docs" / "architecture.md"
BLOCK = re.compile(r"(?<=```text\n)edge/.*?(?=```)", re.DOTALL)


def tree_text() -> str:
    """Return the tree, a line for each folder and its files indented below."""
    return "\n".join(line for package in PACKAGES for line in _folder(ROOT / package, 0)) + "\n"


def _folder(folder: Path, depth: int) -> Iterator[str]:
    indent = "    " * depth
    said = (ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or "").partition("\n")[0]
    yield f"{indent}{folder.name}/".ljust(24) + f"  {said}".rstrip()
    files = sorted(
        path.name for path in folder.iterdir() if path.suffix in (".py", ".cu") and path.name != "__init__.py"
    )
    yield from textwrap.wrap(
        "  ".join(files), 108, initial_indent=f"{indent}    ", subsequent_indent=f"{indent}    "
    )
    for path in sorted(folder.iterdir()):
        if (path / "__init__.py").exists():
            yield from _folder(path, depth + 1)


if __name__ == "__main__":
    ARCHITECTURE.write_text(BLOCK.sub(lambda _: tree_text(), ARCHITECTURE.read_text()))
