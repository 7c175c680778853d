"""Which layer of the code may know which other, read from the imports themselves."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import edge

ROOT = Path(edge.__file__).parents[1]

# Downwards: a file or folder imports from itself and from rows below its own. The first row is the top.
ROWS = {
    "edge": [
        {"__main__"},
        {"commands"},
        {"challenge", "check", "demo", "replay"},
        {"line"},
        {"recorder"},
        {"stages"},
        {"judges", "capacity"},
        {"engines", "sources"},
        {"alarms", "belt", "image", "monitoring", "render", "watch"},
        {"journal", "subscription"},
        {"bundle", "memory", "recipe_file", "subscriber"},
        {"recipe_belt"},
        {"keys", "manifest_file", "npz", "recipe", "wire"},
        {"manifest"},
        {"documents", "endpoints", "pictures", "tiles"},
        {"errors"},
        {"messages", "text"},
    ],
    "trt_build": [
        {"__main__"},
        {"commands"},
        {"graphs"},
        {"methods"},
        {"packing"},
        {"engines", "figures"},
        {"backbones", "data"},
        {"caches", "terminal", "whole"},
    ],
}


def modules() -> list[tuple[str, str, Path]]:
    """Each file's package, its file or folder directly in that, and its path."""
    found = []
    for package in ROWS:
        root = ROOT / package
        for path in sorted(root.rglob("*.py")):
            found.append((package, path.relative_to(root).parts[0].removesuffix(".py"), path))
    return found


def imported(path: Path) -> set[tuple[str, str]]:
    """What a file imports at run time: the package, and the file or folder directly in that."""
    folder = list(path.relative_to(ROOT).parts[:-1])
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
            base = folder[: len(folder) - node.level + 1] if node.level else []
            full = [*base, *(node.module or "").split(".")] if node.module else base
            names = [full] if len(full) > 1 else [[*full, alias.name] for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        else:
            continue
        found |= {(name[0], name[1]) for name in names if name[0] in ROWS and len(name) > 1}
    return found


@pytest.mark.parametrize(
    ("package", "name", "path"), modules(), ids=lambda value: value.stem if isinstance(value, Path) else value
)
def test_imports_point_downwards(package: str, name: str, path: Path) -> None:
    """No layer knows one above it, so data and knowledge flow one way; `edge` knows nothing of `trt_build`."""
    rank = {name: row for row, names in enumerate(ROWS[package]) for name in names}
    for other, layer in imported(path):
        if other != package:
            assert other == "edge", f"{path.relative_to(ROOT)} imports {other}.{layer}"
        elif layer != name:
            assert name != "__init__"
            assert rank[layer] > rank[name], f"{path.relative_to(ROOT)} imports {package}.{layer}"


def test_all_of_edge_works_where_torch_does_not() -> None:
    """The line never needs torch, TensorRT's builder or anything else that only makes models."""
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for package, _, path in modules()
        if package == "edge" and path.name != "__main__.py"
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


#: Modules that run code which is hidden in data, and names of functions that do.
UNSAFE = {"pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "xmlrpc"}
CALLS = {"eval", "exec", "compile", "recv_pyobj", "send_pyobj", "unsafe_load"}


def unpicklers(tree: ast.AST) -> list[str]:
    """What in a file could run code that is hidden in data: imports, calls, and an argument that allows it."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in UNSAFE]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in UNSAFE:
            found.append(str(node.module))
        elif isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            # `re.compile` is none; the builtin has no owner.
            if name in CALLS and (name != "compile" or isinstance(node.func, ast.Name)):
                found.append(name)
            found += ["allow_pickle"] * any(
                keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False"
                for keyword in node.keywords
            )
    return found


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "import os, marshal as m",
        "eval('1')",
        "socket.recv_pyobj()",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=given)",
    ],
)
def test_what_unpickles_is_found(code: str) -> None:
    """The next test sees each of these."""
    assert unpicklers(ast.parse(code))


@pytest.mark.parametrize("path", sorted((ROOT / "edge").rglob("*.py")), ids=lambda path: path.stem)
def test_nothing_in_edge_unpickles(path: Path) -> None:
    """No message, recipe, bundle or file can make the line run code that is hidden in it."""
    assert unpicklers(ast.parse(path.read_text())) == []
