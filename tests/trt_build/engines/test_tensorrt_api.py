"""Every name of TensorRT that the code uses is in the oldest, a middle and the newest version that it takes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from bindings import VERSIONS, Missing, missing_in_rtx, missing_names

ROOT = Path(__file__).parents[3]

#: By file, what its variables hold: the module (""), or an object of a class.
VARIABLES: dict[str, dict[str, str]] = {
    "trt_build/engines/tensorrt_builder.py": {
        "trt": "",
        "builder": "Builder",
        "network": "INetworkDefinition",
        "parser": "OnnxParser",
        "error": "ParserError",
        "put": "ITensor",
        "config": "IBuilderConfig",
        "profile": "IOptimizationProfile",
        "runtime": "Runtime",
        "loaded": "ICudaEngine",
        "inspector": "EngineInspector",
    },
    "trt_build/engines/progress.py": {"trt": ""},
    "trt_build/engines/timing_cache.py": {"config": "IBuilderConfig", "cache": "ITimingCache"},
    "edge/engines/trt_library.py": {"trt": ""},
    "edge/engines/trt.py": {
        "trt": "",
        "self._trt": "",
        "self._runtime": "Runtime",
        "self._engine": "ICudaEngine",
        "context": "IExecutionContext",
        "self._context": "IExecutionContext",
        "refitter": "Refitter",
        "parser": "OnnxParserRefitter",
    },
}
#: Variables and parameters of these files that are of our own classes, or of Python's.
OURS = {
    "plan": "bytes, or what turns into them",
    "listener": "ours, of an ILogger",
    "logger": "ours, of an ILogger",
    "self._logger": "ours, of an ILogger",
    "severity": "of what is compared only",
    "name": "str",
    "errors": "list of ParserError, whose elements are `error`",
    "error": "of edge.engines.trt: a function",
    "version": "tuple of numbers",
    "stream": "pycuda's",
}


class Names(ast.NodeVisitor):
    """What a file uses of TensorRT: names in steps from the library on, and what is not in the table."""

    def __init__(self, path: str, *, rtx: bool = False) -> None:
        self.table = {"rtx": "", "config": "IBuilderConfig"} if rtx else VARIABLES[path]
        self.rtx = rtx
        self.chains: set[tuple[str, ...]] = set()
        self.seen: set[str] = set()
        self.unknown: set[str] = set()
        self.derived: dict[tuple[str, ...], set[str]] = {}
        self.visit(ast.parse((ROOT / path).read_text()))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        parameters = [*node.args.args, *node.args.kwonlyargs]
        only_rtx = any(parameter.arg == "rtx" for parameter in parameters)
        if only_rtx != self.rtx:
            if self.rtx:
                self.generic_visit(node)
            return
        for parameter in parameters:
            if parameter.annotation is not None and ast.unparse(parameter.annotation) == "Any":
                self.told(parameter.arg)
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for base in node.bases:
            if steps := self.steps(base):
                defined = {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
                self.derived[steps] = {name for name in defined if not name.startswith("_")}
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        """What a call of TensorRT gives is of a class too."""
        if isinstance(node.value, ast.Call) and self.steps(node.value.func):
            for target in node.targets:
                self.told(ast.unparse(target))
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if steps := self.steps(node):
            self.chains.add(steps)
        self.generic_visit(node)

    def told(self, name: str) -> None:
        if name in self.table:
            self.seen.add(name)
        elif name not in OURS and not self.rtx:
            self.unknown.add(name)

    def steps(self, node: ast.expr) -> tuple[str, ...]:
        """`trt.A.B` is A, B; `config.c` is IBuilderConfig, c; nothing for what is not TensorRT's."""
        names: list[str] = []
        while isinstance(node, ast.Attribute):
            names.insert(0, node.attr)
            node = node.value
            held = ast.unparse(node)
            if held in self.table:
                self.seen.add(held)
                return (self.table[held], *names) if self.table[held] else tuple(names)
        return ()


@pytest.fixture(scope="module")
def used() -> dict[str, Names]:
    """By file, what it uses of both TensorRT and TensorRT-RTX."""
    return {path: Names(path) for path in VARIABLES}


def chains(used: dict[str, Names]) -> list[tuple[str, ...]]:
    return sorted(set().union(*(names.chains for names in used.values())))


def own_chains(used: dict[str, Names]) -> Iterator[tuple[str, ...]]:
    """Methods that TensorRT is to call, by the names by which it calls them."""
    for names in used.values():
        for base, methods in names.derived.items():
            yield from ((*base, method) for method in methods)


@pytest.mark.built
@pytest.mark.parametrize("version", VERSIONS)
def test_every_name_is_in_each_version(used: dict[str, Names], version: str) -> None:
    """A line that goes from JetPack 6 to TensorRT 11 does not meet a name that is gone."""
    try:
        assert missing_names(version, [*chains(used), *own_chains(used)]) == []
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.mark.built
@pytest.mark.parametrize(
    ("version", "gone"),
    [
        ("11.4.0", ["BuilderFlag.FP16", "BuilderFlag.WEIGHTLESS", "ICudaEngine.device_memory_size"]),
        ("10.3.0", ["IBuilderConfig.tiling_optimization_level", "ICudaEngine.create_runtime_config"]),
    ],
)
def test_a_name_that_only_some_versions_have_is_noticed(version: str, gone: list[str]) -> None:
    """What TensorRT 11 took out, and what 10.3 had not yet."""
    try:
        found = missing_names(
            version, [*(tuple(name.split(".")) for name in gone), ("Builder", "create_network")]
        )
    except Missing as missing:
        pytest.skip(str(missing))
    assert found == gone


def test_every_name_is_in_tensorrt_rtx(used: dict[str, Names]) -> None:
    """The same code runs with both, and what is asked of RTX alone is there too."""
    if not find_spec("tensorrt_rtx"):
        pytest.skip("needs tensorrt_rtx")
    alone = {path: Names(path, rtx=True) for path in VARIABLES}
    assert ("ComputeCapability", "CURRENT") in chains(alone)
    assert missing_in_rtx([*chains(used), *chains(alone), *own_chains(used)]) == []


def test_the_names_are_found_in_the_code(used: dict[str, Names]) -> None:
    """Or nothing would be held against any version."""
    found = chains(used)
    for name in (
        "BuilderFlag.TF32",
        "Builder.build_serialized_network",
        "ITimingCache.serialize",
        "IExecutionContext.execute_async_v3",
        "IProgressMonitor",
        "ILogger.Severity.ERROR",
    ):
        assert tuple(name.split(".")) in found


@pytest.mark.parametrize("path", VARIABLES)
def test_every_variable_is_known(used: dict[str, Names], path: str) -> None:
    """What TensorRT gives, and what a function takes of it, is in the table above, and nothing else is."""
    assert used[path].unknown == set()
    assert set(VARIABLES[path]) == used[path].seen


def test_what_tensorrt_is_to_call_is_all_there(used: dict[str, Names]) -> None:
    """A progress monitor that lacks a method, or has it by another name, would end the process."""
    monitor = used["trt_build/engines/progress.py"].derived[("IProgressMonitor",)]
    assert monitor == {"phase_start", "step_complete", "phase_finish"}
    for path in ("trt_build/engines/tensorrt_builder.py", "edge/engines/trt_library.py"):
        assert used[path].derived[("ILogger",)] == {"log"}
