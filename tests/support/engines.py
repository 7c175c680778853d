"""Bundles as tests of `trt-build build` need them, and engines that a real TensorRT-RTX builds of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import msgspec
import onnx
import pytest

from edge.bundle import Bundle, describe, read_model, write_manifest
from edge.engines.compiled import ENGINES, Compiled, Target, kept
from edge.engines.cuda import open_device
from edge.errors import EngineError
from edge.image.kernel import fatbin_name
from edge.manifest import Artifact
from edge.recipe import EngineChoice
from trt_build.engines.build import Result, build_engines
from trt_build.engines.tensorrt_builder import BuildOptions
from trt_build.engines.verify import Comparison

Run = Callable[..., tuple[int, str, str]]

KERNELS = b".version 8.0"  # the fake CUDA driver loads this as compiled kernels


needs_rtx = pytest.mark.skipif(
    not find_spec("tensorrt_rtx"), reason="needs tensorrt_rtx, which builds engines without a GPU"
)


def has_gpu() -> bool:
    try:
        with open_device():
            return True
    except EngineError:
        return False


needs_no_gpu = pytest.mark.skipif(has_gpu(), reason="is about machines without a GPU")


def with_kernels(bundle: Bundle) -> Bundle:
    (bundle.folder / ENGINES).mkdir()
    (bundle.folder / ENGINES / fatbin_name()).write_bytes(KERNELS)
    return bundle


def changed(bundle: Bundle, change: Callable[[onnx.ModelProto], None]) -> Bundle:
    """The bundle in its folder, with other graphs."""
    artifacts: list[Artifact] = []
    for artifact in bundle.manifest.artifacts:
        model = onnx.load(bundle.folder / artifact.path)
        change(model)
        onnx.save(model, bundle.folder / artifact.path)
        artifacts.append(msgspec.structs.replace(artifact, **describe(bundle.folder, artifact.path)))
    write_manifest(bundle.folder, msgspec.structs.replace(bundle.manifest, artifacts=tuple(artifacts)))
    return read_model(bundle.folder)


def freed(model: onnx.ModelProto, *, axis: int = 0) -> None:
    """Leave a side of every input and output free."""
    for put in (*model.graph.input, *model.graph.output):
        sides = put.type.tensor_type.shape.dim
        if axis < len(sides):
            sides[axis].dim_param = "batch" if axis == 0 else "height"


def build(
    bundle: Bundle,
    here: Target,
    precisions: Sequence[Any] = ("fp32",),
    check: Callable[[Bundle, EngineChoice], Comparison | None] | None = None,
    **options: Any,
) -> list[Result]:
    return list(build_engines(bundle, precisions, here, BuildOptions(**options), check))


def files(bundle: Bundle) -> set[str]:
    """What lies in the folder of engines, but for the kernels."""
    return {path.name for path in (bundle.folder / ENGINES).iterdir()} - {fatbin_name()}


def engines(bundle: Bundle) -> list[Compiled]:
    return [found for _, found in kept(bundle.folder) if isinstance(found, Compiled)]
