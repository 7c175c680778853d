"""A draft's FP32 graphs into FP16, by ModelOpt AutoCast: what multiplies is halved, what compares is not.

On a GPU an engine computes what its graph says and nothing coarser, so the choice is made here, by structure:
convolutions, the dense layer of a matcher and what lies between them go to FP16. All else stays in FP32, of
which a distance squares small differences, whitening adds what nearly cancels, and the product of three such
numbers would vanish in FP16. Pictures stay bytes; what goes in and out otherwise, features too, stays float32.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
import onnx

from edge.bundle import Bundle, describe, read_bundle, write_manifest
from edge.manifest import Artifact, Role
from trt_build.data.cases import Case, evenly
from trt_build.graphs.int8 import inputs_of

MULTIPLY = {"Conv", "Gemm"}
#: What may lie between: it selects, or its result is about as large as what goes in.
BETWEEN = {
    "Abs",
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Clip",
    "Concat",
    "Flatten",
    "MaxPool",
    "Mul",
    "Pad",
}
BETWEEN |= {"Relu", "Reshape", "Resize", "Sigmoid", "Sub"}
LARGEST = 2.0**14  # a node where a picture shows more stays in FP32: FP16 ends at 65504
SHOWN = 4  # pictures for that; AutoCast keeps all that is computed of all of them


def add_fp16(draft: Path, cases: Sequence[Case] = ()) -> None:
    """Add every graph in FP16 to a draft; with cases, nodes where those come near FP16's end stay in FP32."""
    bundle = read_bundle(draft)
    roles: tuple[Role, ...] = ("judge", "reference") if bundle.manifest.features else ("judge",)
    halved = [_halved(bundle, role, evenly(cases, SHOWN)) for role in roles]
    others = [artifact for artifact in bundle.manifest.artifacts if artifact.precision != "fp16"]
    write_manifest(draft, msgspec.structs.replace(bundle.manifest, artifacts=(*others, *halved)))


def _halved(bundle: Bundle, role: Role, cases: Sequence[Case]) -> Artifact:
    from modelopt.onnx.autocast import convert_to_mixed_precision

    for name in ("modelopt.onnx", "modelopt.onnx.autocast"):
        logging.getLogger(name).setLevel(logging.ERROR)  # it tells of every constant that it copies or rounds
    name = f"{role}.fp16.onnx"
    model = onnx.load(bundle.artifact(role, "fp32"))
    for i, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{i}"
    chosen = _chosen(model.graph)
    with TemporaryDirectory() as folder:
        named, shown = Path(folder) / "named.onnx", Path(folder) / "shown"
        onnx.save(model, named)
        shown.mkdir()
        for i, inputs in enumerate(inputs_of(bundle, role, cases)):
            np.savez(shown / f"{i}.npz", **inputs)
        halved = convert_to_mixed_precision(
            str(named),
            low_precision_type="fp16",
            nodes_to_exclude=[
                re.escape(node.name) + "$" for node in model.graph.node if node.name not in chosen
            ],
            data_max=LARGEST if cases else np.inf,
            calibration_data=str(shown),
            keep_io_types=True,
        )
    del halved.graph.value_info[:]  # some are of tensors that it took out again
    onnx.save(halved, bundle.folder / name)
    return Artifact(role=role, precision="fp16", **describe(bundle.folder, name))


def _chosen(graph: onnx.GraphProto) -> set[str]:
    """The names of the nodes that multiply, and of those between them: all that goes in is made by such nodes.

    What comes out goes to such a node, or it would be rounded for nothing.
    """
    made_by = {name: node for node in graph.node for name in node.output}
    read_by = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            read_by[name].append(node.name)
    features = {put.name for put in graph.input if put.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    constants = {"", *(tensor.name for tensor in graph.initializer)}
    chosen = {node.name for node in graph.node if node.op_type in MULTIPLY | BETWEEN}
    while True:
        apart = {
            node.name
            for node in graph.node
            if node.name in chosen
            and node.op_type not in MULTIPLY
            and not (
                all(
                    name in features or (name in made_by and made_by[name].name in chosen)
                    for name in node.input
                    if name not in constants
                )
                and any(reader in chosen for name in node.output for reader in read_by[name])
            )
        }
        if not apart:
            return chosen
        chosen -= apart
