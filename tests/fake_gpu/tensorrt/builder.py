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


class ProfilingVerbosity(Enum):
    LAYER_NAMES_ONLY, DETAILED, NONE = range(3)


class IProgressMonitor:
    """What a user derives a monitor from."""


class _Tensor:
    def __init__(self, put: Any) -> None:
        sides = [side.dim_value for side in put.type.tensor_type.shape.dim]
        self.name, self.shape = put.name, tuple(side or -1 for side in sides)  # a free side has no value
        self.told = {"dtype": _DTYPES[put.type.tensor_type.elem_type], "shape": sides[1:]}


class _Network:
    def __init__(self, flags: int) -> None:
        self.flags, self.inputs, self.outputs = flags, [], []

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    def get_input(self, number: int) -> _Tensor:
        return self.inputs[number]


class OnnxParser:
    """Takes every graph."""

    num_errors = 0

    def __init__(self, network: _Network, logger: Any) -> None:
        self._network = network

    def parse(self, data: bytes) -> bool:
        import onnx  # here, since whoever only runs engines needs none

        graph = onnx.load_from_string(data).graph
        self._network.inputs = [_Tensor(put) for put in graph.input]
        self._network.outputs = [_Tensor(put) for put in graph.output]
        return True


class _Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, name: str, least: Sequence[int], usual: Sequence[int], most: Sequence[int]) -> None:
        self.shapes[name] = [list(least), list(usual), list(most)]


class _Timings:
    """How many builds it knows of, in digits behind a header."""

    def __init__(self, builds: int) -> None:
        self.builds = builds

    def serialize(self) -> bytes:
        return b"timings " + str(self.builds).encode()


class Config:
    """What the builder is told besides the network."""

    told: dict[str, Any] = {}  # noqa: RUF012  (what a library of another kind says in its plans)

    def __init__(self) -> None:
        self.flags_set = {BuilderFlag.TF32}
        self.progress_monitor: Any = None
        self.profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
        self.profiles: list[_Profile] = []
        self.timings: _Timings | None = None

    def set_flag(self, flag: BuilderFlag) -> None:
        self.flags_set.add(flag)

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.flags_set.discard(flag)

    def add_optimization_profile(self, profile: _Profile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, data: bytes) -> _Timings | None:
        if data and not data.startswith(b"timings "):
            return None
        return _Timings(int(data[8:] or b"0"))

    def set_timing_cache(self, cache: _Timings, ignore_mismatch: bool) -> bool:
        self.timings = cache
        return True

    def get_timing_cache(self) -> _Timings | None:
        return self.timings


class Builder:
    """Builds in as many steps as there are outputs."""

    version = ""  # the library's

    def __init__(self, logger: Any) -> None:
        self.logger = logger

    def create_network(self, flags: int) -> _Network:
        return _Network(flags)

    def create_builder_config(self) -> Config:
        return Config()

    def create_optimization_profile(self) -> _Profile:
        return _Profile()

    def build_serialized_network(self, network: _Network, config: Config) -> bytes | None:
        monitor = config.progress_monitor
        monitor.phase_start("Building", None, len(network.outputs))
        if not all(monitor.step_complete("Building", step) for step in range(len(network.outputs))):
            return None
        monitor.phase_finish("Building")
        (profile,) = config.profiles
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
            "batch": max(shapes[2][0] for shapes in profile.shapes.values()),
            "weights_bytes": 1000,
            "scratch_bytes": 0,
            "poison": POISON,
            **config.told,
            "asked": {
                "flags": sorted(flag.name for flag in config.flags_set),
                "network": network.flags,
                "profile": profile.shapes,
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
