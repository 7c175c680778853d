"""FP16 is for what multiplies; what compares, and all that goes in and out, is as exact as before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from drafts import SIZE
from onnx import TensorProto, parser

pytest.importorskip("torch")
pytest.importorskip("modelopt", reason="nvidia-modelopt is not installed: pip install 'linejudge[build]'")

from edge.bundle import Bundle, describe, read_model, write_manifest
from edge.engines.onnxruntime import OnnxRuntime
from edge.judges.golden import differences
from edge.manifest import Artifact
from trt_build.data.cases import Case, answer
from trt_build.engines.emulated import Emulated
from trt_build.graphs.fp16 import add_fp16
from trt_build.methods.stpm.method import METHOD as parts
from trt_build.packing.pack import pack

_LOUD = """
<ir_version: 10, opset_import: ["" : 20]>
loud (uint8[1,3,32,32] image) => (float[1] score, float[1,1,8,8] map)
<float[1,3,1,1] up = {100.0, 100.0, 100.0}, float[1,1,1,1] down = {0.0001220703125}, float[1] none = {0.0},
 int64[3] all = {1, 2, 3}>
{
    bytes = Cast<to = 1>(image)
    [loud] loud = Conv(bytes, up)
    [faint] faint = Conv(loud, down)
    map = AveragePool<kernel_shape = [4, 4], strides = [4, 4]>(faint)
    score = ReduceMean<keepdims = 0>(map, all)
}
"""


def types(path: Path) -> dict[str, int]:
    """The type of every tensor of a graph that is not a constant."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    return {
        value.name: value.type.tensor_type.elem_type
        for value in (*graph.input, *graph.value_info, *graph.output)
    }


def grey(level: int) -> Case:
    """An evenly grey part."""
    return Case(name=str(level), image=np.full((1, 3, SIZE, SIZE), level, np.uint8))


@pytest.fixture
def loud(anomaly_draft: Path, copy: Callable[[Path], Path]) -> Bundle:
    """A picture's mean, times 300 and then by 8192; in between FP16 ends at grey 218."""
    draft = copy(anomaly_draft)
    manifest = read_model(draft).manifest
    onnx.save(parser.parse_model(_LOUD), draft / "judge.fp32.onnx")
    judge = Artifact(role="judge", precision="fp32", **describe(draft, "judge.fp32.onnx"))
    write_manifest(draft, msgspec.structs.replace(manifest, artifacts=(judge,)))
    return read_model(draft)


@pytest.mark.parametrize("name", ["stpm", "autoencoder", "matcher"])
def test_what_multiplies_is_halved_and_what_compares_is_not(
    network: Callable[[str], Bundle], name: str
) -> None:
    """Convolutions, dense layers and whitening in FP16; sums of whitening, distances, means, scores in FP32."""
    path = network(name).artifact("judge", "fp16")
    kinds = types(path)
    for node in onnx.load(path).graph.node:
        if node.op_type in ("Conv", "Gemm"):
            assert kinds[node.output[0]] == TensorProto.FLOAT16
        elif node.op_type in ("MatMul", "Pow", "ReduceMean", "ReduceL2", "Div", "Sqrt", "TopK"):
            assert kinds[node.output[0]] == TensorProto.FLOAT


def test_what_goes_in_and_out_is_typed_as_before(network: Callable[[str], Bundle]) -> None:
    """Bytes in, float32 out, and the features of masters between the two graphs too."""
    bundle = network("comparator")
    for role in ("judge", "reference"):
        before, after = (onnx.load(bundle.artifact(role, precision)).graph for precision in ("fp32", "fp16"))
        for puts in ("input", "output"):
            assert [*getattr(after, puts)] == [*getattr(before, puts)]


def test_nothing_is_cast_between_convolutions(network: Callable[[str], Bundle]) -> None:
    """A comparator's judge has a cast for its picture, for each feature, before its outputs and no more."""
    bundle = network("comparator")
    casts = [node for node in onnx.load(bundle.artifact("judge", "fp16")).graph.node if node.op_type == "Cast"]
    assert len(casts) == 2 + len(bundle.manifest.features) + len(bundle.manifest.outputs)


@pytest.mark.parametrize(
    ("exact", "rounded", "apart", "size"),
    [("fp32", "fp16", 0.01, 0.6), ("fp16", "int8_fp16", 0.05, 0.8), ("fp16", "fp8", 0.1, 0.8)],
    ids=["FP16", "INT8 with FP16", "FP8"],
)
def test_it_is_smaller_and_stays_close(
    network: Callable[[str], Bundle], exact: str, rounded: str, apart: float, size: float
) -> None:
    """A map moves by little, but it moves, where the graph is run as it is typed; no weight is kept twice."""
    bundle = network("stpm")
    image = np.random.default_rng(1).integers(0, 256, bundle.manifest.input.shape, np.uint8)
    said = []
    for precision in (exact, rounded):
        with Emulated(bundle, precision) as engine:
            said.append(answer(engine, bundle.manifest, Case(name="noise", image=image)))
    found = differences(said[1], said[0], bundle.manifest)["map"]
    assert 0 < found < apart * float(np.abs(said[0]["map"]).max())
    sizes = [bundle.artifact("judge", precision).stat().st_size for precision in (rounded, exact)]
    assert sizes[0] < size * sizes[1]


def test_what_fp16_cannot_hold_stays_in_fp32(loud: Bundle) -> None:
    """Pictures tell where; a model whose values would be infinite is as right as before."""
    white = grey(255)
    add_fp16(loud.folder, [white, grey(3)])
    bundle = read_model(loud.folder)
    with Emulated(bundle, "fp16") as engine:
        assert answer(engine, bundle.manifest, white)["score"] == pytest.approx([255 * 300 / 8192], rel=1e-5)
    assert TensorProto.FLOAT16 not in types(bundle.artifact("judge", "fp16")).values()


def test_what_a_node_keeps_in_fp16_is_rounded(loud: Bundle) -> None:
    """Of 300 times 37 FP16 keeps 11104, where ONNX Runtime by itself computes with 11100."""
    add_fp16(loud.folder)
    bundle = read_model(loud.folder)
    with Emulated(bundle, "fp16") as rounding, OnnxRuntime(bundle, "fp16", 1, 1) as runtime:
        rounded, kept = (answer(e, bundle.manifest, grey(37))["score"] for e in (rounding, runtime))
    assert kept == pytest.approx([11100 / 8192], rel=1e-5)
    assert rounded == pytest.approx([11104 / 8192], rel=1e-5)


def test_a_bundle_says_how_far_fp16_may_lie_off(
    calibrated_anomaly: Path, part_folder: Path, copy: Callable[[Path], Path], tmp_path: Path
) -> None:
    """Measured where it is rounded, and its golden frames are reproduced; halving again replaces."""
    draft = copy(calibrated_anomaly)
    add_fp16(draft)
    add_fp16(draft)
    spec = read_model(draft).manifest.input
    bundle = pack(draft, tmp_path / "bundle", cases=parts.held_out(part_folder, spec))
    assert sorted(bundle.manifest.precisions()) == ["fp16", "fp32", "int8"]
    assert {*bundle.manifest.tolerances["fp16"]} == {"score", "map"}
