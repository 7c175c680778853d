"""Small real bundles, each a model of a few nodes that is made here."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge.bundle import describe, read_model, write_manifest
from edge.manifest import (
    Artifact,
    Calibration,
    DraftManifest,
    File,
    GoldenCase,
    InputSpec,
    Manifest,
    ModelManifest,
    Precision,
    Role,
)

SIZE, STRIDE = 64, 4
CELLS = SIZE // STRIDE
KINDS = ("spot", "shade")

Picture = NDArray[np.uint8]
Outputs = Mapping[str, NDArray[np.float32]]


def board(seed: int) -> Picture:
    """A `(64, 64)` picture of dark blocks and noise, no brighter than 110."""
    rng = np.random.default_rng(seed)
    blocks = np.kron(rng.integers(0, 2, (8, 8)), np.ones((8, 8))) * 60
    return (blocks + rng.integers(20, 50, (SIZE, SIZE))).astype(np.uint8)


def altered(bundle: Path, folder: Path, **fields: Any) -> Path:
    """A copy of a bundle in `folder` with other fields in its manifest."""
    shutil.copytree(bundle, folder)
    write_manifest(folder, msgspec.structs.replace(read_model(bundle).manifest, **fields))
    return folder


def unpacked(manifest: Manifest) -> DraftManifest:
    """What a bundle's manifest said before it was calibrated and packed."""
    common = {name: getattr(manifest, name) for name in ModelManifest.__struct_fields__}
    return DraftManifest(**common | {"thresholds": None})


def calibration(scores: Sequence[float], threshold: float = 0.5) -> Calibration:
    """As if good parts had scored so."""
    return Calibration(
        method="conformal",
        rate=0.1,
        n=len(scores),
        threshold=threshold,
        note="On average at most 10 % of good parts are rejected.",
        engine="openvino fp32",
        artifact="0" * 64,
        scores=tuple(sorted(scores)),
    )


def comparator_manifest(kinds: tuple[str, ...], **more: Any) -> Manifest:
    return Manifest(
        kinds=kinds,
        input=InputSpec(height=SIZE, width=SIZE),
        outputs={"map": (1, len(kinds), CELLS, CELLS), "extents": (1, 4, CELLS, CELLS)},
        stride=STRIDE,
        thresholds=dict.fromkeys(kinds, 0.5),
        **more,
    )


def write_comparator(folder: Path, kinds: tuple[str, ...]) -> Path:
    """What the fixture `tiny_bundle` says."""
    artifacts = [
        _artifact(folder, role, precision, model)
        for role, precision, model in (
            ("reference", "fp32", _reference()),
            ("reference", "int8", _reference()),
            ("judge", "fp32", _comparator(len(kinds))),
            ("judge", "int8", _comparator(len(kinds), quantized=True)),
        )
    ]
    masters = {view: _picture(folder, f"master/{view}.png", board(i)) for i, view in enumerate("ab")}
    spotted = board(0)
    spotted[41:49, 22:30] += np.uint8(140)
    golden = [
        _golden(folder, name, frame, _compared(frame, board(0), len(kinds)), masters["a"])
        for name, frame in (("clean", board(0)), ("spotted", spotted))
    ]
    manifest = comparator_manifest(
        kinds,
        name=folder.name,
        method="comparator",
        features=("feature_0", "feature_1"),
        artifacts=tuple(artifacts),
        golden=tuple(golden),
        tolerances={
            "fp32": {"map": 1e-4, "extents": 1e-4, "score": 1e-4},
            "int8": {"map": 0.01, "extents": 1e-4, "score": 0.01},
        },
        masters=masters,
    )
    write_manifest(folder, manifest)
    return folder


def write_anomaly(folder: Path) -> Path:
    """What the fixture `score_bundle` says."""
    artifact = _artifact(folder, "judge", "fp32", _anomaly())
    odd = board(0)
    odd[20:44, 20:44] += np.uint8(140)
    golden = [
        _golden(folder, name, frame, deviation(frame)) for name, frame in (("usual", board(0)), ("odd", odd))
    ]
    manifest = Manifest(
        name=folder.name,
        method="stpm",
        kinds=("anomaly",),
        input=InputSpec(height=SIZE, width=SIZE),
        outputs={"score": (1,), "map": (1, 1, CELLS, CELLS)},
        stride=STRIDE,
        artifacts=(artifact,),
        thresholds={"anomaly": 0.145},
        region_from=0.3,
        golden=tuple(golden),
        tolerances={"fp32": {"map": 1e-4, "score": 1e-4}},
    )
    write_manifest(folder, manifest)
    return folder


def write_matcher(folder: Path) -> Path:
    """What the fixture `matcher_bundle` says."""
    artifact = _artifact(folder, "judge", "fp32", _matcher())
    drawing = _picture(folder, "golden/drawing.png", board(0))
    golden = []
    for name, frame in (("product", board(0)), ("other", board(1))):
        embedding = _embedding(frame)
        score = 1 - embedding @ _embedding(board(0)).T
        golden.append(_golden(folder, name, frame, {"embedding": embedding, "score": score[0]}, drawing))
    manifest = Manifest(
        name=folder.name,
        method="matcher",
        kinds=("product",),
        input=InputSpec(height=SIZE, width=SIZE),
        outputs={"embedding": (1, 64)},
        artifacts=(artifact,),
        thresholds={"product": 0.3},
        golden=tuple(golden),
        tolerances={"fp32": {"embedding": 1e-4, "score": 1e-4}},
    )
    write_manifest(folder, manifest)
    return folder


def _artifact(folder: Path, role: Role, precision: Precision, model: onnx.ModelProto) -> Artifact:
    folder.mkdir(parents=True, exist_ok=True)
    path = f"{role}.{precision}.onnx"
    onnx.save(model, folder / path)
    return Artifact(role=role, precision=precision, **describe(folder, path))


def _picture(folder: Path, path: str, picture: Picture) -> File:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / path), picture)
    return File(**describe(folder, path))


def _golden(
    folder: Path, name: str, frame: Picture, expected: Outputs, master: File | None = None
) -> GoldenCase:
    picture = _picture(folder, f"golden/{name}.png", frame)
    np.savez_compressed(folder / f"golden/{name}.npz", **expected)
    return GoldenCase(frame=picture, master=master, expected=File(**describe(folder, f"golden/{name}.npz")))


def _cells(picture: NDArray[Any], stride: int = STRIDE) -> NDArray[Any]:
    """`(h, w, stride * stride)` pixels of each cell."""
    h, w = picture.shape[0] // stride, picture.shape[1] // stride
    return picture.reshape(h, stride, w, stride).swapaxes(1, 2).reshape(h, w, -1)


def _compared(frame: Picture, master: Picture, kinds: int) -> Outputs:
    """What the comparator's graphs have to answer, in numpy."""
    a, b = frame / 255.0, master / 255.0
    spot = _cells(np.abs(a - b)).max(-1)
    shade = np.abs(_cells(a).mean(-1) - _cells(b).mean(-1))
    return {
        "map": np.stack([spot, shade, *[0 * spot] * (kinds - 2)])[np.newaxis].astype(np.float32),
        "extents": np.full((1, 4, CELLS, CELLS), 2.0, np.float32),
    }


def deviation(frame: Picture) -> Outputs:
    """What the anomaly model's graph has to answer, in numpy."""
    heat = np.abs(_cells(frame / 255.0).mean(-1) - 0.4).astype(np.float32)
    return {"score": heat.mean(keepdims=True).ravel(), "map": heat[np.newaxis, np.newaxis]}


def _embedding(frame: Picture) -> NDArray[np.float32]:
    """What the matcher's graph has to answer, `(1, 64)`, in numpy."""
    means = _cells(frame / 255.0, 8).mean(-1).reshape(1, -1)
    centred = means - means.mean()
    return (centred / np.linalg.norm(centred)).astype(np.float32)


def _pool(stride: int) -> dict[str, list[int]]:
    return {"kernel_shape": [stride, stride], "strides": [stride, stride]}


def _reference() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Cast", ["master"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "white"], ["feature_0"]),
        helper.make_node("AveragePool", ["feature_0"], ["feature_1"], **_pool(STRIDE)),
    ]
    return _model("reference", nodes, {"master": _IMAGE}, _FEATURES)


def _comparator(kinds: int, *, quantized: bool = False) -> onnx.ModelProto:
    spots = [
        helper.make_node("QuantizeLinear", ["difference", "step", "zero"], ["levels"]),
        helper.make_node("DequantizeLinear", ["levels", "step", "zero"], ["rough"]),
        helper.make_node("Abs", ["rough"], ["absolute"]),
    ]
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "white"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "feature_0"], ["difference"]),
        *(spots if quantized else [helper.make_node("Abs", ["difference"], ["absolute"])]),
        helper.make_node("MaxPool", ["absolute"], ["spot"], **_pool(STRIDE)),
        helper.make_node("AveragePool", ["scaled"], ["mean"], **_pool(STRIDE)),
        helper.make_node("Sub", ["mean", "feature_1"], ["mean_difference"]),
        helper.make_node("Abs", ["mean_difference"], ["shade"]),
        helper.make_node("Mul", ["spot", "none"], ["nothing"]),
        helper.make_node("Concat", ["spot", "shade", *["nothing"] * (kinds - 2)], ["map"], axis=1),
        helper.make_node("Add", ["nothing", "two"], ["extents"]),
    ]
    outputs = {
        "map": (TensorProto.FLOAT, [1, kinds, CELLS, CELLS]),
        "extents": (TensorProto.FLOAT, [1, 4, CELLS, CELLS]),
    }
    return _model("judge", nodes, {"image": _IMAGE, **_FEATURES}, outputs)


def _anomaly() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "white"], ["scaled"]),
        helper.make_node("AveragePool", ["scaled"], ["mean"], **_pool(STRIDE)),
        helper.make_node("Sub", ["mean", "grey"], ["off"]),
        helper.make_node("Abs", ["off"], ["map"]),
        helper.make_node("ReduceMean", ["map", "of a picture"], ["score"], keepdims=0),
    ]
    outputs = {"score": (TensorProto.FLOAT, [1]), "map": (TensorProto.FLOAT, [1, 1, CELLS, CELLS])}
    return _model("anomaly", nodes, {"image": _IMAGE}, outputs)


def _matcher() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "white"], ["scaled"]),
        helper.make_node("AveragePool", ["scaled"], ["means"], **_pool(8)),
        helper.make_node("Flatten", ["means"], ["row"], axis=1),
        helper.make_node("ReduceMean", ["row", "of a row"], ["mean"]),
        helper.make_node("Sub", ["row", "mean"], ["centred"]),
        helper.make_node("ReduceL2", ["centred", "of a row"], ["length"]),
        helper.make_node("Div", ["centred", "length"], ["embedding"]),
    ]
    return _model("matcher", nodes, {"image": _IMAGE}, {"embedding": (TensorProto.FLOAT, [1, 64])})


_IMAGE: tuple[Any, ...] = (TensorProto.UINT8, [1, 1, SIZE, SIZE])
_FEATURES = {
    "feature_0": (TensorProto.FLOAT, [1, 1, SIZE, SIZE]),
    "feature_1": (TensorProto.FLOAT, [1, 1, CELLS, CELLS]),
}
_CONSTANTS = {
    "white": np.float32(255),
    "step": np.float32(1 / 127),
    "zero": np.int8(0),
    "none": np.float32(0),
    "two": np.full((1, 4, 1, 1), 2, np.float32),
    "grey": np.float32(0.4),
    "of a picture": np.array([1, 2, 3]),
    "of a row": np.array([1]),
}


def _model(
    name: str, nodes: list[onnx.NodeProto], inputs: dict[str, Any], outputs: dict[str, Any]
) -> onnx.ModelProto:
    used = {key for node in nodes for key in node.input}
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(key, *kind) for key, kind in inputs.items()],
        [helper.make_tensor_value_info(key, *kind) for key, kind in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in _CONSTANTS.items() if key in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model
