"""Small real drafts as `export` leaves them, and folders of parts and products for their steps."""

from __future__ import annotations

from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from edge.bundle import describe, write_manifest
from edge.manifest import Artifact, DraftManifest, InputSpec
from edge.manifest_file import parse_manifest

SIZE, STRIDE = 32, 4
CELLS = SIZE // STRIDE
GREY = 102  # of a part that nothing is wrong with

_ANOMALY = """
<ir_version: 10, opset_import: ["" : 20]>
anomaly (uint8[1,3,32,32] image) => (float[1] score, float[1,1,8,8] map)
<float[3,3,1,1] same = {1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0}, float[3,1,1,1] each = {1.0, 1.0, 1.0},
 float[1,3,1,1] mix = {0.25, 0.5, 0.25}, float white = {255.0}, float grey = {0.4}, int64[3] all = {1, 2, 3}>
{
    bytes = Cast<to = 1>(image)
    scaled = Div(bytes, white)
    [read] read = Conv(scaled, same)
    [apart] apart = Conv<group = 3>(read, each)
    [light] light = Conv(apart, mix)
    mean = AveragePool<kernel_shape = [4, 4], strides = [4, 4]>(light)
    off = Sub(mean, grey)
    map = Abs(off)
    score = ReduceMean<keepdims = 0>(map, all)
}
"""
_WIDE = """
<ir_version: 10, opset_import: ["" : 20]>
anomaly (uint8[1,3,32,32] image) => (float[1] score, float[1,1,8,8] map)
<float white = {255.0}, float grey = {0.4}, int64[3] all = {1, 2, 3}>
{
    bytes = Cast<to = 1>(image)
    scaled = Div(bytes, white)
    [read] read = Conv(scaled, copies)
    [wide] wide = Conv<pads = [1, 1, 1, 1]>(read, smooth)
    [light] light = Conv(wide, gather)
    mean = AveragePool<kernel_shape = [4, 4], strides = [4, 4]>(light)
    off = Sub(mean, grey)
    map = Abs(off)
    score = ReduceMean<keepdims = 0>(map, all)
}
"""
#: By name, weights that are too many to be written in the text.
_WEIGHTS = {
    "copies": np.full((32, 3, 1, 1), 1 / 3, np.float32),
    "smooth": np.full((32, 32, 3, 3), 1 / 288, np.float32),
    "gather": np.full((1, 32, 1, 1), 1 / 32, np.float32),
}
_MATCHER = """
<ir_version: 10, opset_import: ["" : 20]>
matcher (uint8[1,1,32,32] image) => (float[1,16] embedding)
<float[1,1,1,1] same = {1.0}, float[1,1,1,1] sign = {-1.0}, float[1] one = {1.0}, float white = {255.0},
 int64[1] row = {1}>
{
    bytes = Cast<to = 1>(image)
    scaled = Div(bytes, white)
    [read] read = Conv(scaled, same)
    [ink] ink = Conv(read, sign, one)
    cells = AveragePool<kernel_shape = [8, 8], strides = [8, 8]>(ink)
    flat = Flatten(cells)
    mean = ReduceMean(flat, row)
    centred = Sub(flat, mean)
    length = ReduceL2(centred, row)
    embedding = Div(centred, length)
}
"""


def write_anomaly_draft(folder: Path) -> Path:
    """An anomaly model `(1, 3, 32, 32)` RGB in FP32: a cell's map is how far its mean lies from 0.4.

    Red and blue count a quarter, green a half, all as parts of 255; the score is the map's mean.
    """
    return _write(
        folder,
        _ANOMALY,
        method="stpm",
        kinds=("anomaly",),
        input=InputSpec(height=SIZE, width=SIZE, color="rgb"),
        outputs={"score": (1,), "map": (1, 1, CELLS, CELLS)},
        stride=STRIDE,
    )


def write_matcher_draft(folder: Path) -> Path:
    """A matcher `(1, 1, 32, 32)` grey in FP32: means of the ink in 8x8 pixels, less their own, at length 1."""
    return _write(
        folder,
        _MATCHER,
        method="matcher",
        kinds=("product",),
        input=InputSpec(height=SIZE, width=SIZE),
        outputs={"embedding": (1, 16)},
    )


def write_wide_draft(folder: Path) -> Path:
    """An anomaly model as `write_anomaly_draft`'s, whose light goes through 32 channels of 3x3 pixels.

    Its sums are large, as a real network's are: all weights of a filter are alike, and so is what goes in.
    """
    return _write(
        folder,
        _WIDE,
        method="stpm",
        kinds=("anomaly",),
        input=InputSpec(height=SIZE, width=SIZE, color="rgb"),
        outputs={"score": (1,), "map": (1, 1, CELLS, CELLS)},
        stride=STRIDE,
    )


def widen(draft: Path) -> Path:
    """Store the INT8 weights of a draft in 8 bits: numbers twice as large, and steps half as large."""
    model = onnx.load(draft / "judge.int8.onnx")
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        weights = stored.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if weights is not None:
            wide = np.clip(2 * numpy_helper.to_array(weights).astype(int), -127, 127).astype(np.int8)
            weights.CopyFrom(numpy_helper.from_array(wide, weights.name))
            step = stored[node.input[1]]
            step.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(step) / np.float32(2), step.name))
    onnx.save(model, draft / "judge.int8.onnx")
    describe_again(draft)
    return draft


def describe_again(draft: Path) -> None:
    """Write sizes and digests of the graphs as they are now into the manifest."""
    manifest = parse_manifest((draft / "manifest.json").read_bytes())
    artifacts = tuple(
        msgspec.structs.replace(artifact, **describe(draft, artifact.path)) for artifact in manifest.artifacts
    )
    write_manifest(draft, msgspec.structs.replace(manifest, artifacts=artifacts))


def _write(folder: Path, text: str, **fields: object) -> Path:
    folder.mkdir(parents=True)
    model = parser.parse_model(text)
    read = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(
        numpy_helper.from_array(values, name) for name, values in _WEIGHTS.items() if name in read
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / "judge.fp32.onnx")
    judge = Artifact(role="judge", precision="fp32", **describe(folder, "judge.fp32.onnx"))
    write_manifest(folder, DraftManifest(name=folder.name, artifacts=(judge,), **fields))
    return folder


def part(seed: int, *, defect: bool = False) -> NDArray[np.uint8]:
    """A part `(32, 32, 3)`, more or less uneven; a defective one is 90 levels brighter in 8x8 pixels."""
    rng = np.random.default_rng(seed)
    uneven = rng.uniform(-1, 1, (CELLS, CELLS)) * rng.uniform(4, 18)
    picture = (
        GREY + np.kron(uneven, np.ones((STRIDE, STRIDE)))[..., np.newaxis] + rng.uniform(-3, 3, (SIZE, SIZE, 3))
    )
    if defect:
        picture[8:16, 12:20] += 90
    return picture.clip(0, 255).astype(np.uint8)


def write_parts(folder: Path, *, trained: int = 140, good: int = 12, bad: int = 10) -> Path:
    """Parts in MVTec AD's layout: good ones to train with and to test on, and some with a spot."""
    for i in range(trained):
        _picture(folder / f"train/good/{i:03}.png", part(i))
    for i in range(good):
        _picture(folder / f"test/good/{i:03}.png", part(1000 + i))
    spot = np.zeros((SIZE, SIZE), np.uint8)
    spot[8:16, 12:20] = 255
    for i in range(bad):
        _picture(folder / f"test/spot/{i:03}.png", part(2000 + i, defect=True))
        _picture(folder / f"ground_truth/spot/{i:03}_mask.png", spot)
    return folder


def write_products(folder: Path, *, products: int = 40, drawings: int = 2, photos: int = 4) -> Path:
    """Products, each a pattern of blocks of its own; photos are noisier than drawings, and lit unevenly."""
    for number in range(products):
        rng = np.random.default_rng(number)
        pattern = np.kron(rng.integers(0, 2, (4, 4)), np.ones((8, 8)))
        for kind, count, faint, noise in (("drawing", drawings, 1, 20), ("photo", photos, 0.2, 60)):
            for i in range(count):
                ink = np.kron(rng.uniform(faint, 1, (4, 4)), np.ones((8, 8))) * 200
                picture = 255 - ink * pattern - rng.uniform(0, noise, (SIZE, SIZE))
                _picture(folder / f"product-{number:02}/{kind}-{i}.png", picture.clip(0, 255).astype(np.uint8))
    return folder


def _picture(path: Path, picture: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)
