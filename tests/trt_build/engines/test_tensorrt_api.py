"""What the code uses of TensorRT fits old and new versions, and the fakes."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

import pytest
from bindings import VERSIONS, Missing, unfit, unfit_for_fake, unfit_for_oldest_rtx, unfit_for_rtx
from signatures import Use

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
        "runtime": "Runtime",
        "loaded": "ICudaEngine",
        "inspector": "EngineInspector",
    },
    "trt_build/engines/builder_config.py": {
        "trt": "",
        "builder": "Builder",
        "network": "INetworkDefinition",
        "put": "ITensor",
        "config": "IBuilderConfig",
        "profile": "IOptimizationProfile",
    },
    "trt_build/engines/progress.py": {"trt": ""},
    "trt_build/engines/timing_cache.py": {"config": "IBuilderConfig", "cache": "ITimingCache"},
    "edge/engines/trt_library.py": {"trt": ""},
    "edge/engines/plan.py": {
        "trt": "",
        "self._trt": "",
        "self._runtime": "Runtime",
        "self._engine": "ICudaEngine",
        "context": "IExecutionContext",
        "refitter": "Refitter",
        "parser": "OnnxParserRefitter",
    },
}
#: Likewise what functions with a parameter `rtx` hold, and a file that is of TensorRT-RTX alone.
RTX_VARIABLES: dict[str, dict[str, str]] = {
    "trt_build/engines/builder_config.py": {"rtx": "", "config": "IBuilderConfig"},
    "edge/engines/rtx.py": {
        "rtx": "",
        "runtime": "Runtime",
        "engine": "ICudaEngine",
        "config": "IRuntimeConfig",
        "self._config": "IRuntimeConfig",
        "cache": "IRuntimeCache",
        "self._cache": "IRuntimeCache",
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
    "error": "of edge.engines.plan: a function",
    "version": "tuple of numbers",
    "stream": "pycuda's",
    "scratch": "pycuda's",
}


class Names(ast.NodeVisitor):
    """What a file uses of TensorRT: names in steps from the library on, and what is not in the table."""

    def __init__(self, path: str, *, rtx: bool = False) -> None:
        self.table = (RTX_VARIABLES if rtx else VARIABLES)[path]
        self.rtx, self.whole = rtx, path not in VARIABLES
        self.chains: set[tuple[str, ...]] = set()
        self.calls: set[tuple[tuple[str, ...], int, tuple[str, ...]]] = set()
        self.seen: set[str] = set()
        self.unknown: set[str] = set()
        self.derived: dict[tuple[str, ...], set[str]] = {}
        self.visit(ast.parse((ROOT / path).read_text()))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        parameters = [*node.args.args, *node.args.kwonlyargs]
        only_rtx = any(parameter.arg == "rtx" for parameter in parameters)
        if only_rtx != self.rtx and not self.whole:
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
                defined = [part for part in node.body if isinstance(part, ast.FunctionDef)]
                methods = [part for part in defined if not part.name.startswith("_")]
                self.derived[steps] = {method.name for method in methods}
                # TensorRT calls them as it would its own.
                self.calls |= {((*steps, part.name), len(part.args.args) - 1, ()) for part in methods}
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        """What a call of TensorRT gives is of a class too."""
        if isinstance(node.value, ast.Call) and self.steps(node.value.func):
            for target in node.targets:
                self.told(ast.unparse(target))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if steps := self.steps(node.func):
            keywords = tuple(str(keyword.arg) for keyword in node.keywords)
            self.calls.add((steps, len(node.args), keywords))
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


@pytest.fixture(scope="module")
def alone() -> dict[str, Names]:
    """By file, what it uses of TensorRT-RTX alone."""
    return {path: Names(path, rtx=True) for path in RTX_VARIABLES}


def uses(used: dict[str, Names]) -> list[Use]:
    """Each name without a call, and each call."""
    names = {(chain, None, ()) for found in used.values() for chain in found.chains}
    return [(list(chain), count, list(words)) for chain, count, words in (*names, *calls(used))]


def calls(used: dict[str, Names]) -> set[tuple[tuple[str, ...], int, tuple[str, ...]]]:
    return set().union(*(names.calls for names in used.values()))


@pytest.mark.built
@pytest.mark.parametrize("version", VERSIONS)
def test_every_use_fits_each_version(used: dict[str, Names], version: str) -> None:
    """A line that goes from JetPack 6 to TensorRT 11 meets no name that is gone, and no parameter."""
    try:
        assert unfit(version, uses(used)) == []
    except Missing as missing:
        pytest.skip(str(missing))


WRONG: list[tuple[str, Use, str]] = [
    ("11.4.0", (["BuilderFlag", "FP16"], None, []), "BuilderFlag.FP16 is missing"),
    ("11.4.0", (["ICudaEngine", "device_memory_size"], None, []), "ICudaEngine.device_memory_size is missing"),
    (
        "10.3.0",
        (["ICudaEngine", "create_runtime_config"], 0, []),
        "ICudaEngine.create_runtime_config is",
    ),
    (
        "10.3.0",
        (["ICudaEngine", "create_execution_context"], 0, ["runtime_config"]),
        "ICudaEngine.create_execution_context(runtime_config=_) is taken by none of (self, strategy)",
    ),
    (
        "10.3.0",
        (["IBuilderConfig", "set_memory_pool_limit"], 1, []),
        "IBuilderConfig.set_memory_pool_limit(_) is taken by none of (self, pool, pool_size)",
    ),
    (
        "11.4.0",
        (["IExecutionContext", "set_input_shape"], 3, []),
        "IExecutionContext.set_input_shape(_, _, _) is taken by none of (self, name, shape)",
    ),
    ("11.4.0", (["Builder"], 0, []), "Builder() is taken by none of (self, logger)"),
    ("11.4.0", (["nptype"], 2, []), "nptype(_, _) is taken by none of (trt_type)"),
]


@pytest.mark.built
@pytest.mark.parametrize(("version", "use", "why"), WRONG, ids=[wrong[2].split(" ")[0] for wrong in WRONG])
def test_a_use_that_does_not_fit_is_noticed(version: str, use: Use, why: str) -> None:
    """What TensorRT 11 took out, what 10.3 had not yet, and calls with other arguments."""
    try:
        (said,) = unfit(version, [use, (["Builder", "create_network"], 1, [])])
    except Missing as missing:
        pytest.skip(str(missing))
    assert said.startswith(why)


def test_every_use_fits_tensorrt_rtx(used: dict[str, Names], alone: dict[str, Names]) -> None:
    """The same code runs with both, and what is asked of RTX alone is there too."""
    if not find_spec("tensorrt_rtx"):
        pytest.skip("needs tensorrt_rtx")
    assert unfit_for_rtx([*uses(used), *uses(alone)]) == []


@pytest.mark.built
def test_every_use_fits_the_oldest_tensorrt_rtx(used: dict[str, Names], alone: dict[str, Names]) -> None:
    """It has been the same since."""
    known = uses(used)
    try:
        assert unfit_for_oldest_rtx([*known, *uses(alone)]) == []
    except Missing as missing:
        pytest.skip(str(missing))


#: Classes that the fakes do not have, since no test with them needs it.
NOT_FAKED = {"OnnxParserRefitter", "Refitter"}


def test_every_use_fits_the_fakes(used: dict[str, Names], alone: dict[str, Names]) -> None:
    """Or tests with them would prove nothing of the code that a GPU runs."""
    known = [use for use in uses(used) if use[0][0] not in NOT_FAKED]
    assert unfit_for_fake("tensorrt", known) == []
    assert unfit_for_fake("tensorrt_rtx", [*known, *uses(alone)]) == []


def test_the_uses_are_found_in_the_code(used: dict[str, Names], alone: dict[str, Names]) -> None:
    """Or nothing would be held against any version."""
    found = set().union(*(names.chains for names in (*used.values(), *alone.values())))
    for name in ("BuilderFlag.TF32", "ILogger.Severity.ERROR", "ComputeCapability.CURRENT"):
        assert tuple(name.split(".")) in found
    for name, count, keywords in (
        ("Builder", 1, ()),
        ("Builder.build_serialized_network", 2, ()),
        ("ITimingCache.serialize", 0, ()),
        ("IExecutionContext.execute_async_v3", 1, ()),
        ("IProgressMonitor.phase_start", 3, ()),
        ("ICudaEngine.create_execution_context", 0, ("runtime_config",)),
        ("ICudaEngine.create_execution_context", 1, ()),
        ("IExecutionContext.set_device_memory", 2, ()),
        ("Runtime.get_engine_validity", 1, ()),
    ):
        assert (tuple(name.split(".")), count, keywords) in calls(used) | calls(alone)


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
