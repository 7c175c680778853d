"""Which part of the code may know which other, read from the imports themselves."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import edge

ROOT = Path(edge.__file__).parent

# Downwards: a module imports from its own row or from rows below it, and rows are listed from the top.
ROWS = [
    {"__main__"},
    {"demo", "checkup"},
    {"capacity", "rehearsal"},
    {"pipeline", "watch"},
    {"start", "child", "service"},
    {"stages"},
    {"epoch", "run_folder"},
    {"judges"},
    {"capture", "preprocess", "infer", "publish", "arming"},
    {"leftovers"},
    {"verdict"},
    {"bench"},
    {"state"},
    {"fuse"},
    {"decide"},
    {"masters", "stage"},
    {"endpoint", "inbox", "life", "wires"},
    {"register", "resample"},
    {"align"},
    {
        "regions",
        "golden",
        "gallery",
        "pvalue",
        "sources",
        "engines",
        "metrics",
        "ledger",
        "ring",
        "wire",
        "plan",
    },
    {"shared", "bundle", "cores", "gpu", "kernels", "schedule", "exposition", "subscribers"},
    {"manifest"},
    {"recipe"},
    {"mistakes"},
    {"messages", "toml", "wanted"},
    {"pictures"},
    {"address", "errors", "labels", "processor", "text", "descriptors"},
]
RANK = {name: rank for rank, names in enumerate(ROWS) for name in names}


def modules() -> list[tuple[str, Path]]:
    """Name of each module's file or folder directly in `edge`, and its files."""
    return [(path.relative_to(ROOT).parts[0].removesuffix(".py"), path) for path in sorted(ROOT.rglob("*.py"))]


def imported(path: Path) -> set[str]:
    """Modules of `edge` that a file imports at run time, by their name directly in `edge`."""
    package = ["edge", *path.relative_to(ROOT).parts[:-1]]
    tree = ast.parse(path.read_text())
    typing_only = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            full = [*base, *(node.module or "").split(".")] if node.module else base
            names = [full] if node.module else [[*full, alias.name] for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        else:
            continue
        found |= {name[1] for name in names if name[0] == "edge" and len(name) > 1}
    return found


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_imports_point_downwards(name: str, path: Path) -> None:
    """No module knows one above it, so data and knowledge flow one way."""
    if name == "__init__":
        assert not imported(path)
        return
    for other in imported(path) - {name}:
        assert RANK[other] >= RANK[name], f"{path.relative_to(ROOT)} imports edge.{other}"


def test_all_of_edge_works_where_torch_does_not() -> None:
    """The line never needs torch, TensorRT's builder or anything else that only makes models."""
    names = [
        "edge." + ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for _, path in modules()
        if path.name != "__main__.py" and path != ROOT / "__init__.py"
    ]
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'trt_build'): sys.modules[name] = None\n"
        "import importlib\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "print(len(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
