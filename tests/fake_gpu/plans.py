"""Plans for the fake TensorRT, laid into a bundle as engines, and what they have to answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from edge.bundle import describe, read_model, write_manifest
from edge.engines.compiled import ENGINES, Compiled, Target
from edge.image.kernel import fatbin_name
from edge.manifest import File, Manifest, Role
from edge.recipe import Runtime

VERSIONS: dict[Runtime, str] = {"tensorrt": "10.13.3.9", "tensorrt_rtx": "1.7.1.116"}  # of the fakes
VERSION, CAPABILITY, DRIVER = VERSIONS["tensorrt"], (8, 7), 13000
HERE = Target(
    runtime="tensorrt",
    version=VERSION,
    compute_capability=CAPABILITY,
    gpu="Fake GPU",
    multiprocessors=16,
    memory_gib=8,
    driver=DRIVER,
)
SALTS = (7, 19, 31)  # of the first, second and third output of a network
POISON = 255  # a picture that begins with this byte is answered by NaN
FEATURES = ((1, 32, 32), (1, 8, 8))  # shapes of a master's features, in the manifest's order


def write_engines(
    bundle: Path, *, batch: int = 1, kernels: bool = False, runtime: Runtime = "tensorrt", **more: Any
) -> Path:
    """Add engines of every role of a bundle, as `trt-build build` would; `more` goes into their plans.

    With `kernels`, add what the fake driver takes for those that warp frames. Engines of `tensorrt_rtx` are
    built without a GPU, for the fake one.
    """
    more = {"version": VERSIONS[runtime], "capabilities": [CAPABILITY], **more}
    manifest = read_model(bundle).manifest
    image = {"dtype": "uint8", "shape": manifest.input.shape[1:]}
    features = _floats(dict(zip(manifest.features, FEATURES, strict=False)))
    outputs = _floats({name: shape[1:] for name, shape in manifest.outputs.items()})
    judge = {"inputs": {"image": image, **features}, "outputs": outputs, "batch": batch, **more}
    _write(bundle, "judge", judge, runtime)
    if features:
        reference = {"inputs": {"master": image}, "outputs": features, "batch": 1, **more}
        _write(bundle, "reference", reference, runtime)
    if kernels:
        (bundle / ENGINES / fatbin_name()).write_bytes(b".version 8.0")
    return bundle


def _floats(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    return {name: {"dtype": "float32", "shape": shape} for name, shape in shapes.items()}


def _write(bundle: Path, role: Role, asked: dict[str, Any], runtime: Runtime) -> None:
    for output, salt in zip(asked["outputs"].values(), SALTS, strict=False):
        output["salt"] = salt
    usual = {"portable": False, "weights_bytes": 1000, "scratch_bytes": 0, "poison": POISON}
    data = json.dumps({**usual, **asked}).encode()
    folder = bundle / ENGINES
    folder.mkdir(exist_ok=True)
    path = f"{role}.fp32.fake.engine"
    (folder / path).write_bytes(data)
    engine = Compiled(
        role=role,
        precision="fp32",
        graph=read_model(bundle).digest_of_graph(role, "fp32"),
        batch=asked["batch"],
        target=_target(runtime),
        capabilities=(CAPABILITY,) if runtime == "tensorrt_rtx" else (),
        file=File(path=path, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)),
    )
    (folder / f"{path}.json").write_bytes(msgspec.json.encode(engine))


def _target(runtime: Runtime) -> Target:
    if runtime == "tensorrt":
        return HERE
    return Target(runtime=runtime, version=VERSIONS[runtime], compute_capability=None, driver=None)


def promise_answers(bundle: Path, threshold: float) -> None:
    """Let a bundle without masters have the fake's answers as its golden ones, and this threshold."""
    read = read_model(bundle)
    manifest, golden = read.manifest, []
    for case, given in zip(manifest.golden, read.golden(), strict=True):
        np.savez(bundle / case.expected.path, **answer({"image": given.image}, manifest.outputs))
        golden.append(structs.replace(case, expected=File(**describe(bundle, case.expected.path))))
    thresholds = dict.fromkeys(manifest.kinds, threshold)
    write_manifest(bundle, structs.replace(manifest, golden=tuple(golden), thresholds=thresholds))


def features_of(manifest: Manifest, master: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """What the fake reference engine makes of a master."""
    shapes = dict(zip(manifest.features, FEATURES, strict=False))
    return answer({"master": master}, shapes) if shapes else {}


def answer(
    inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, tuple[int, ...]]
) -> dict[str, NDArray[np.float32]]:
    """What a network of the fake has to say of one sample: inputs in the plan's order, outputs by shape."""
    said = {}
    for (name, shape), salt in zip(outputs.items(), SALTS, strict=False):
        total = np.zeros(int(np.prod(shape)), np.float32)
        for order, array in enumerate(inputs.values()):
            total += _mixed(np.frombuffer(array.tobytes(), np.uint8), len(total), salt + order)
        said[name] = total.reshape(shape)
    return said


def _mixed(data: NDArray[np.uint8], count: int, salt: int) -> NDArray[np.float32]:
    """What `mix` of network_host.cpp makes of these bytes."""
    if data[0] == POISON:
        return np.full(count, np.nan, np.float32)
    elements, weights = _where(len(data), count, salt)
    return (np.bincount(elements, data * weights, count) % 65521).astype(np.float32)


@cache
def _where(nbytes: int, count: int, salt: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Into which element each byte goes, and how often."""
    at = np.arange(nbytes)
    return at % count, (at * salt % 251 + 1).astype(np.float64)
