"""TensorRT's builder without TensorRT: an ONNX graph's inputs and outputs into a plan of the fake runtime.

What the plan computes is not what the graph says; what was asked of the builder is kept in it for tests.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import Enum, IntEnum
from typing import Any

SALTS = (7, 19, 31)  # of the first, second and third output
POISON = 255
_DTYPES = {1: "float32", 2: "uint8"}  # by ONNX's numbers


class NetworkDefinitionCreationFlag(IntEnum):
    STRONGLY_TYPED = 1


class BuilderFlag(Enum):
    TF32, VERSION_COMPATIBLE, STRIP_PLAN, REFIT_IDENTICAL, REQUIRE_USER_ALLOCATION = range(5)


class MemoryPoolType(Enum):
    WORKSPACE, TACTIC_DRAM = range(2)


class ProfilingVerbosity(Enum):
    LAYER_NAMES_ONLY, DETAILED, NONE = range(3)


class IProgressMonitor:
    """What a user derives a monitor from."""

    def __init__(self) -> None:
        pass

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        raise NotImplementedError

    def step_complete(self, phase_name: str, step: int) -> bool:
        raise NotImplementedError

    def phase_finish(self, phase_name: str) -> None:
        raise NotImplementedError


class ParserError:
    """What the parser says of a node; this one takes every node."""

    def desc(self) -> str:
        raise NotImplementedError

    def node_name(self) -> str:
        raise NotImplementedError

    def node_operator(self) -> str:
        raise NotImplementedError


class ITensor:
    name: str
    shape: tuple[int, ...]

    def __init__(self, put: Any) -> None:
        sides = [side.dim_value for side in put.type.tensor_type.shape.dim]
        self.name, self.shape = put.name, tuple(side or -1 for side in sides)  # a free side has no value
        self.told = {"dtype": _DTYPES[put.type.tensor_type.elem_type], "shape": sides[1:]}


class INetworkDefinition:
    def __init__(self, flags: int) -> None:
        self.flags, self.inputs, self.outputs = flags, [], []

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    def get_input(self, number: int) -> ITensor:
        return self.inputs[number]


class OnnxParser:
    """Takes every graph."""

    num_errors = 0

    def __init__(self, network: INetworkDefinition, logger: Any) -> None:
        self._network = network

    def get_error(self, index: int) -> ParserError:
        raise NotImplementedError

    def parse(self, data: bytes) -> bool:
        import onnx  # here, since whoever only runs engines needs none

        graph = onnx.load_from_string(data).graph
        self._network.inputs = [ITensor(put) for put in graph.input]
        self._network.outputs = [ITensor(put) for put in graph.output]
        return True


class IOptimizationProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, name: str, least: Sequence[int], usual: Sequence[int], most: Sequence[int]) -> None:
        self.shapes[name] = [list(least), list(usual), list(most)]


class ITimingCache:
    """How many builds it knows of, in digits behind a header."""

    def __init__(self, builds: int) -> None:
        self.builds = builds

    def serialize(self) -> bytes:
        return b"timings " + str(self.builds).encode()


class IBuilderConfig:
    """What the builder is told besides the network."""

    profiling_verbosity: ProfilingVerbosity
    progress_monitor: Any
    told: dict[str, Any] = {}  # noqa: RUF012  (what a library of another kind says in its plans)

    def __init__(self) -> None:
        self.flags_set = {BuilderFlag.TF32}
        self.progress_monitor: Any = None
        self.profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
        self.profiles: list[IOptimizationProfile] = []
        self.timings: ITimingCache | None = None
        self.limits: dict[MemoryPoolType, int] = {}

    def set_flag(self, flag: BuilderFlag) -> None:
        self.flags_set.add(flag)

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.flags_set.discard(flag)

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self.limits[pool] = pool_size

    def create_timing_cache(self, data: bytes) -> ITimingCache | None:
        if data and not data.startswith(b"timings "):
            return None
        return ITimingCache(int(data[8:] or b"0"))

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        self.timings = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self.timings


class Builder:
    """Builds in as many steps as there are outputs."""

    version = ""  # the library's

    def __init__(self, logger: Any) -> None:
        self.logger = logger

    def create_network(self, flags: int) -> INetworkDefinition:
        return INetworkDefinition(flags)

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> bytes | None:
        monitor = config.progress_monitor
        monitor.phase_start("Building", None, len(network.outputs))
        if not all(monitor.step_complete("Building", step) for step in range(len(network.outputs))):
            return None
        monitor.phase_finish("Building")
        counts = [[(next(iter(p.shapes.values())))[end][0] for end in (0, 2)] for p in config.profiles]
        known = config.timings.builds if config.timings else 0
        if config.timings:
            config.timings.builds += 1
        plan = {
            "version": self.version,
            "portable": BuilderFlag.VERSION_COMPATIBLE in config.flags_set,
            "inputs": {put.name: put.told for put in network.inputs},
            "outputs": {
                put.name: put.told | {"salt": salt} for put, salt in zip(network.outputs, SALTS, strict=False)
            },
            "batch": max(most for _, most in counts),
            "profiles": counts,
            "weights_bytes": 1000,
            "scratch_bytes": 0,
            "poison": POISON,
            **config.told,
            "asked": {
                "flags": sorted(flag.name for flag in config.flags_set),
                "network": network.flags,
                "profiles": [profile.shapes for profile in config.profiles],
                "workspace": config.limits.get(MemoryPoolType.WORKSPACE),
                "verbosity": config.profiling_verbosity.name,
                "timings": known,
            },
        }
        return json.dumps(plan).encode()


class LayerInformationFormat(Enum):
    ONELINE, JSON = range(2)


class EngineInspector:
    """Tells of an engine what its plan says."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan

    def get_engine_information(self, form: LayerInformationFormat) -> str:
        assert form is LayerInformationFormat.JSON
        return json.dumps({"Layers": list(self._plan["outputs"]), "Bindings": list(self._plan["inputs"])})
