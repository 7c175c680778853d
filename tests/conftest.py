"""Small real bundles that the tests of both packages run with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from lines import write_boards, write_recipe
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge.bundle import describe, write_manifest
from edge.manifest import Artifact, File, GoldenCase, InputSpec, Manifest

SIZE, STRIDE = 64, 4
CELLS = SIZE // STRIDE
KINDS = ("spot", "shade")


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparator of a few nodes: `(1, 1, 64, 64)` grey, thresholds 0.5; FP32 and INT8; two golden cases.

    `spot` is the largest difference from the master in a cell of 4x4 pixels, as a part of 255; `shade`
    is the difference of the cell's means. Each extent is 2 px, so a cell's box is the cell. Masters:
    `a` and `b`. Copy it before you damage it.
    """
    return _write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny", KINDS)


@pytest.fixture(scope="session")
def pcb_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle with the kinds of the board data set; only the first two are ever seen."""
    kinds = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
    return _write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "pcb", kinds)


@pytest.fixture(scope="session")
def pcb_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 60 labelled pairs, `(64, 64)` grey: with one `open` each, scored 0.3 to 0.53."""
    folder = tmp_path_factory.mktemp("pairs")
    for i in range(60):
        master = board(i)
        tested = master.copy()
        x, y = 4 * (i % 14 + 1), 4 * (i % 11 + 2)
        tested[y + 1 : y + 3, x + 1 : x + 3] = np.minimum(master[y + 1 : y + 3, x + 1 : x + 3] + 77 + i, 255)
        cv2.imwrite(str(folder / f"{i:02d}_temp.png"), master)
        cv2.imwrite(str(folder / f"{i:02d}_test.png"), tested)
        (folder / f"{i:02d}.txt").write_text(f"{x} {y} {x + 4} {y + 4} 1\n")
    return folder


@pytest.fixture
def constant_bundle(tmp_path: Path) -> Callable[..., Path]:
    """Makes a bundle whose engine answers every part alike; the arguments are the engine's facts."""

    def make(**facts: Any) -> Path:
        folder = tmp_path / "constant"
        folder.mkdir()
        write_manifest(folder, _manifest(KINDS, name="constant", method="constant", facts=facts))
        return folder

    return make


@pytest.fixture
def textured() -> np.ndarray:
    """A 64x64 picture with enough in it to register by."""
    noise = np.random.default_rng(7).normal(0, 1, (64, 64)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5)
    return np.clip(90 + 160 * smooth, 20, 180).astype(np.uint8)


@pytest.fixture
def endless(tmp_path: Path, constant_bundle: Callable[..., Path], textured: np.ndarray) -> Callable[..., Path]:
    """Makes the recipe of a line that never ends, with a constant engine of these facts."""

    def make(more: str = "", fps: float = 50, **facts: object) -> Path:
        source = write_boards(tmp_path, {"0": True, "1": True}, textured) + f"\nfps = {fps}\nrepeat = true"
        return write_recipe(tmp_path, constant_bundle(**facts), source, more)

    return make


def board(seed: int) -> NDArray[np.uint8]:
    """A `(64, 64)` picture of dark blocks and noise, no brighter than 110."""
    rng = np.random.default_rng(seed)
    blocks = np.kron(rng.integers(0, 2, (8, 8)), np.ones((8, 8))) * 60
    return (blocks + rng.integers(20, 50, (SIZE, SIZE))).astype(np.uint8)


def _manifest(kinds: tuple[str, ...], **more: Any) -> Manifest:
    return Manifest(
        kinds=kinds,
        input=InputSpec(height=SIZE, width=SIZE),
        outputs={"map": (1, len(kinds), CELLS, CELLS), "extents": (1, 4, CELLS, CELLS)},
        stride=STRIDE,
        thresholds=dict.fromkeys(kinds, 0.5),
        **more,
    )


def _write_tiny_bundle(folder: Path, kinds: tuple[str, ...]) -> Path:
    (folder / "golden").mkdir(parents=True)
    (folder / "master").mkdir()
    for name, model in {
        "reference.fp32.onnx": _reference(),
        "reference.int8.onnx": _reference(),
        "judge.fp32.onnx": _judge(len(kinds)),
        "judge.int8.onnx": _judge(len(kinds), quantized=True),
    }.items():
        onnx.save(model, folder / name)

    masters = {}
    for i, view in enumerate("ab"):
        cv2.imwrite(str(folder / f"master/{view}.png"), board(i))
        masters[view] = File(**describe(folder, f"master/{view}.png"))

    golden = []
    for name, spotted in (("clean", False), ("spotted", True)):
        frame = board(0)
        frame[41:49, 22:30] += np.uint8(140 * spotted)
        cv2.imwrite(str(folder / f"golden/{name}.png"), frame)
        np.savez_compressed(folder / f"golden/{name}.npz", **_expected(frame, board(0), len(kinds)))
        golden.append(
            GoldenCase(
                frame=File(**describe(folder, f"golden/{name}.png")),
                master=masters["a"],
                expected=File(**describe(folder, f"golden/{name}.npz")),
            )
        )

    manifest = _manifest(
        kinds,
        name=folder.name,
        method="comparator",
        features=("feature_0", "feature_1"),
        artifacts=(
            Artifact(role="reference", precision="fp32", **describe(folder, "reference.fp32.onnx")),
            Artifact(role="reference", precision="int8", **describe(folder, "reference.int8.onnx")),
            Artifact(role="judge", precision="fp32", **describe(folder, "judge.fp32.onnx")),
            Artifact(role="judge", precision="int8", **describe(folder, "judge.int8.onnx")),
        ),
        golden=tuple(golden),
        tolerances={
            "fp32": {"map": 1e-4, "extents": 1e-4, "score": 1e-4},
            "int8": {"map": 0.01, "extents": 1e-4, "score": 0.01},
        },
        masters=masters,
    )
    write_manifest(folder, manifest)
    return folder


def _expected(
    frame: NDArray[np.uint8], master: NDArray[np.uint8], kinds: int
) -> dict[str, NDArray[np.float32]]:
    """What the graphs below have to answer, in numpy."""

    def cells(picture: NDArray[Any]) -> NDArray[Any]:
        return picture.reshape(CELLS, STRIDE, CELLS, STRIDE).swapaxes(1, 2).reshape(CELLS, CELLS, -1)

    a, b = frame / 255.0, master / 255.0
    spot = cells(np.abs(a - b)).max(-1)
    shade = np.abs(cells(a).mean(-1) - cells(b).mean(-1))
    return {
        "map": np.stack([spot, shade, *[0 * spot] * (kinds - 2)])[np.newaxis].astype(np.float32),
        "extents": np.full((1, 4, CELLS, CELLS), 2.0, np.float32),
    }


_POOL = {"kernel_shape": [STRIDE, STRIDE], "strides": [STRIDE, STRIDE]}


def _reference() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Cast", ["master"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "white"], ["feature_0"]),
        helper.make_node("AveragePool", ["feature_0"], ["feature_1"], **_POOL),
    ]
    return _model("reference", nodes, {"master": _IMAGE}, _FEATURES)


def _judge(kinds: int, *, quantized: bool = False) -> onnx.ModelProto:
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
        helper.make_node("MaxPool", ["absolute"], ["spot"], **_POOL),
        helper.make_node("AveragePool", ["scaled"], ["mean"], **_POOL),
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
