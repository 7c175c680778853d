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
    {"demo", "check"},
    {"capacity", "line.rehearsal"},
    {"line.supervisor", "watch"},
    {"line.start", "line.child", "monitoring.systemd"},
    {"line.processes"},
    {"line.epoch", "line.run_folder"},
    {"judges.judge"},
    {"stages.capture", "stages.preprocess", "stages.infer", "stages.publish", "judges.arming"},
    {"stages.leftovers"},
    {"stages.verdict"},
    {"judges.rules"},
    {"stages.state"},
    {"judges.fuse"},
    {"judges.decide"},
    {"image.masters", "stages.loop"},
    {"line.endpoint", "stages.inbox", "stages.heartbeat", "stages.sockets"},
    {"image.register", "image.warp"},
    {"image.align"},
    {
        "judges.regions",
        "judges.golden",
        "judges.gallery",
        "judges.pvalue",
        "sources",
        "render",
        "engines",
        "monitoring.metrics",
        "memory.ledger",
        "memory.ring",
        "wire",
        "line.plan",
    },
    {
        "memory.arrays",
        "bundle",
        "line.cpu",
        "monitoring.gpu",
        "image.kernel",
        "image.placement",
        "stages.schedule",
        "monitoring.exposition",
        "stages.subscribers",
    },
    {"manifest"},
    {"recipe"},
    {"documents.mistakes"},
    {"messages", "documents.toml", "documents.wanted"},
    {"pictures"},
    {"documents.address", "errors", "image.labels", "engines.processor", "text", "line.descriptors"},
]
RANK = {name: rank for rank, names in enumerate(ROWS) for name in names}
LAYERS = (
    "documents",
    "image",
    "judges",
    "line",
    "memory",
    "monitoring",
    "stages",
)  # they hold no code themselves


def row(name: str) -> int:
    """The row of a module, which may be that of the folder in which it lies."""
    while name not in RANK:
        name = name.rpartition(".")[0]
    return RANK[name]


def modules() -> list[tuple[str, Path]]:
    """Each module of `edge` by its dotted name, and its file."""
    files = sorted(ROOT.rglob("*.py"))
    return [
        (".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path)
        for path in files
    ]


def imported(path: Path) -> set[str]:
    """Modules of `edge` that a file imports at run time, by their dotted name there."""
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
        found |= {".".join(name[1:]) for name in names if name[0] == "edge" and len(name) > 1}
    return found


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_imports_point_downwards(name: str, path: Path) -> None:
    """No module knows one above it, so data and knowledge flow one way."""
    if name == "__init__" or name in LAYERS:
        assert not imported(path)
        return
    for other in imported(path) - {name}:
        assert row(other) >= row(name), f"{path.relative_to(ROOT)} imports edge.{other}"


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
