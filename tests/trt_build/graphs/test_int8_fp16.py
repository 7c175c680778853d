"""On a GPU, what INT8 does not round is FP16 and not FP32; it judges as INT8 does."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from drafts import SIZE, describe_again
from onnx import TensorProto, numpy_helper

pytest.importorskip("torch")
pytest.importorskip("modelopt", reason="nvidia-modelopt is not installed: pip install 'linejudge[build]'")

from networks import NETWORKS

from edge.bundle import Bundle, Model, read_model
from edge.errors import BundleError
from edge.judges.golden import check_golden, differences
from edge.manifest import Precision
from edge.recipe import EngineChoice
from trt_build.data.cases import Case, answer
from trt_build.engines.emulated import Emulated
from trt_build.engines.exact import Exact
from trt_build.engines.verify import verify
from trt_build.graphs.fp16 import add_fp16
from trt_build.graphs.int8 import add_int8
from trt_build.graphs.int8_fp16 import add_int8_fp16
from trt_build.graphs.multiply_adds import multiply_adds, shares
from trt_build.methods.matcher.network import Matcher, MatcherConfig
from trt_build.methods.stpm.method import METHOD as parts
from trt_build.packing.pack import pack
from trt_build.packing.threshold import CalibrationOptions

#: Largest share of the multiply-adds in FP32, in per cent.
FP32 = 5.0


def in_fp32(bundle: Model, precision: Precision) -> float:
    """The share of the multiply-adds of all graphs that is FP32, in per cent."""
    counts = [multiply_adds(bundle.artifact(role, precision)) for role in bundle.manifest.roles]
    return shares({kind: sum(one[kind] for one in counts) for kind in counts[0]})["FP32"]


def noise(bundle: Bundle) -> Case:
    rng = np.random.default_rng(1)
    image, master = rng.integers(0, 256, (2, *bundle.manifest.input.shape), np.uint8)
    compares = bundle.manifest.features or bundle.manifest.matches_drawings
    return Case(name="noise", image=image, master=master if compares else None)


@pytest.mark.parametrize("name", NETWORKS)
def test_hardly_anything_is_multiplied_in_fp32(network: Callable[[str], Bundle], name: str) -> None:
    """By no method. In the INT8 graphs, all that is not INT8 is."""
    bundle = network(name)
    assert in_fp32(bundle, "int8_fp16") < FP32 < in_fp32(bundle, "int8")


def test_a_convolution_that_stays_fp32_is_counted(
    network: Callable[[str], Bundle], copy: Callable[[Path], Path]
) -> None:
    """The largest one of the FP16 graph, left in FP32 between two casts, breaks the promise above."""
    draft = copy(network("matcher").folder)
    path = draft / "judge.int8_fp16.onnx"
    model = onnx.load(path)
    half = [node for node in model.graph.node if node.op_type == "Conv" and "dequantized" not in node.input[0]]
    for node in half:
        _widen(model.graph, node)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    describe_again(draft)
    assert in_fp32(read_model(draft), "int8_fp16") > FP32


def _widen(graph: onnx.GraphProto, node: onnx.NodeProto) -> None:
    """Compute a node in FP32: its inputs are cast to it, and its output is cast back."""
    at = list(graph.node).index(node)
    out = node.output[0]
    node.output[0] = f"{out}_wide"
    back = onnx.helper.make_node("Cast", [node.output[0]], [out], to=TensorProto.FLOAT16)
    wide = [f"{node.name}_{name}_wide" for name in node.input]
    casts = [
        onnx.helper.make_node("Cast", [name], [cast], to=TensorProto.FLOAT)
        for name, cast in zip(node.input, wide, strict=True)
    ]
    node.input[:] = wide
    graph.node.insert(at + 1, back)
    for cast in casts:
        graph.node.insert(at, cast)


@pytest.mark.parametrize("name", NETWORKS)
def test_it_computes_what_int8_computes(network: Callable[[str], Bundle], name: str) -> None:
    """It lies about as far from FP32 as INT8 does, where both are run as they are written."""
    bundle = network(name)
    case = noise(bundle)
    said = []
    for engine in (Exact(bundle, "fp32"), Exact(bundle, "int8"), Emulated(bundle, "int8_fp16")):
        with engine:
            said.append(answer(engine, bundle.manifest, case))
    int8, mixed = (differences(found, said[0], bundle.manifest) for found in said[1:])
    for output, meant in said[0].items():
        assert mixed[output] < 2 * int8[output] + 0.01 * float(np.abs(meant).max())


def test_ranges_are_those_of_int8_and_weights_have_eight_bits(network: Callable[[str], Bundle]) -> None:
    """Of each convolution that INT8 rounds, and of no other: weights lie half a step off at most."""
    bundle = network("stpm")
    ours, theirs = (rounded(bundle, precision) for precision in ("int8_fp16", "int8"))
    assert ours.keys() == theirs.keys() != set()
    exact = constants_of(onnx.load(bundle.artifact("judge", "fp32")).graph)
    for node in onnx.load(bundle.artifact("judge", "fp32")).graph.node:
        if node.name in ours:
            scale, levels, steps = ours[node.name]
            assert scale.dtype == steps.dtype == np.float16
            assert scale == pytest.approx(theirs[node.name][0], rel=1e-3)
            assert np.abs(levels.astype(int)).max() == 127 > 64 >= np.abs(theirs[node.name][1]).max()
            sides = (-1, *(1,) * (levels.ndim - 1))
            off = levels * steps.astype(np.float32).reshape(sides) - exact[node.input[1]]
            assert (np.abs(off) <= 0.51 * steps.astype(np.float32).reshape(sides) + 1e-7).mean() > 0.99


def rounded(bundle: Model, precision: Precision) -> dict[str, tuple[Any, Any, Any]]:
    """By the name of each rounded convolution, its input's scale, and its weights as int8 and their scales."""
    graph = onnx.load(bundle.artifact("judge", precision)).graph
    constants = constants_of(graph)
    made_by = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    found = {}
    for node in graph.node:
        if node.op_type == "Conv" and all(name in made_by for name in node.input[:2]):
            seen, weight = (made_by[name] for name in node.input[:2])
            found[node.name] = tuple(constants[name] for name in (seen.input[1], *weight.input[:2]))
    return found


def constants_of(graph: onnx.GraphProto) -> dict[str, Any]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def test_what_fp16_keeps_in_fp32_is_rounded_in_fp32(anomaly_draft: Path, copy: Callable[[Path], Path]) -> None:
    """A convolution of values that FP16 cannot hold is INT8 all the same, and its scales are float32."""
    draft = copy(anomaly_draft)
    path = draft / "judge.fp32.onnx"
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name in ("each", "mix"):
            values = numpy_helper.to_array(tensor) * np.float32(1e6 if tensor.name == "each" else 1e-6)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, path)
    describe_again(draft)
    grey = Case(name="grey", image=np.full((1, 3, SIZE, SIZE), 180, np.uint8))
    add_int8(draft, [grey])
    add_fp16(draft, [grey])
    add_int8_fp16(draft)
    bundle = read_model(draft)
    ((scale, _, _),) = rounded(bundle, "int8_fp16").values()
    assert scale.dtype == np.float32
    with Emulated(bundle, "int8_fp16") as engine, Exact(bundle, "fp32") as exact:
        found, meant = (answer(one, bundle.manifest, grey)["score"] for one in (engine, exact))
    assert found == pytest.approx(meant, rel=0.05)


@pytest.fixture(scope="module")
def complete(anomaly_draft: Path, part_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The anomaly draft in all precisions that export makes."""
    draft = Path(shutil.copytree(anomaly_draft, tmp_path_factory.mktemp("complete") / "draft"))
    add_fp16(draft, parts.calibration_pictures(part_folder, read_model(draft).manifest.input))
    add_int8_fp16(draft)
    return draft


def test_a_bundle_with_it_decides_as_int8_does(
    complete: Path, copy: Callable[[Path], Path], part_folder: Path, tmp_path: Path
) -> None:
    """Threshold, tolerances and golden frames are found as ever; a part that is clear is judged alike."""
    draft = copy(complete)
    said = parts.calibrate(draft, part_folder, CalibrationOptions(rate=0.2))
    assert said.engine == "openvino int8"
    cases = parts.held_out(part_folder, read_model(draft).manifest.input)
    bundle = pack(draft, tmp_path / "bundle", cases=cases)
    assert sorted(bundle.manifest.precisions()) == ["fp16", "fp32", "int8", "int8_fp16"]
    assert bundle.manifest.tolerances.keys() == {*bundle.manifest.precisions()}
    found, measure = parts.labelled(part_folder, bundle)
    labelled = list(found)
    judged = []
    for engine in (Exact(bundle, "int8"), Emulated(bundle, "int8_fp16")):
        with engine:
            check_golden(engine, bundle)
            judged.append([float(answer(engine, bundle.manifest, case)["score"][0]) for case in labelled])
    theirs, ours = np.array(judged)
    (limit,) = bundle.manifest.thresholds.values()
    clear = np.abs(theirs - limit) > bundle.manifest.tolerances["int8_fp16"]["score"]
    assert clear.sum() >= len(labelled) - 2
    assert ((ours >= limit) == (theirs >= limit))[clear].all()
    assert {*(theirs >= limit).tolist()} == {True, False}
    assert verify(bundle, EngineChoice(), labelled, measure) is not None


def test_a_bundle_may_leave_it_out(
    complete: Path, copy: Callable[[Path], Path], part_folder: Path, tmp_path: Path
) -> None:
    """Packing one precision for a CPU takes that and FP32."""
    draft = copy(complete)
    parts.calibrate(draft, part_folder, CalibrationOptions(rate=0.2))
    cases = parts.held_out(part_folder, read_model(draft).manifest.input)
    bundle = pack(draft, tmp_path / "bundle", cases=cases, precision="int8")
    assert sorted(bundle.manifest.precisions()) == ["fp32", "int8"]


def test_it_is_left_out_where_int8_is(complete: Path, copy: Callable[[Path], Path], part_folder: Path) -> None:
    """Ranges that ruin the one ruin the other: neither is calibrated, and no file of either is left."""
    draft = copy(complete)
    path = draft / "judge.int8.onnx"
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.INT8 and tensor.dims:
            tensor.CopyFrom(numpy_helper.from_array(np.zeros(tuple(tensor.dims), np.int8), tensor.name))
    onnx.save(model, path)
    describe_again(draft)
    parts.calibrate(draft, part_folder, CalibrationOptions(rate=0.2))
    assert sorted(read_model(draft).manifest.precisions()) == ["fp16", "fp32"]
    assert sorted(graph.name for graph in draft.glob("*.onnx")) == ["judge.fp16.onnx", "judge.fp32.onnx"]


def test_export_makes_it_beside_int8_and_says_how_much_is_fp32(
    trt_build: Callable[..., tuple[int, str, str]], product_folder: Path, tmp_path: Path
) -> None:
    """One command, from a checkpoint and its pictures; each graph has a row."""
    torch = pytest.importorskip("torch")
    config = MatcherConfig(size=32, in_channels=1, widths=(4, 8), blocks=(0, 0), embedding=12)
    describe = {"model": "matcher", "config": asdict(config)}
    checkpoint, draft = tmp_path / "checkpoint.pt", tmp_path / "draft"
    torch.save({"weights": Matcher(config).state_dict(), "describe": describe, "epoch": 1}, checkpoint)
    status, out, _ = trt_build("export", checkpoint, draft, "--data", product_folder)
    assert status == 0
    bundle = read_model(draft)
    assert bundle.manifest.precisions() == ["fp32", "fp16", "int8", "int8_fp16"]
    rows = {line.split()[0]: line.split()[4] for line in out.splitlines() if "│" in line}
    assert {name: float(share) for name, share in rows.items()} == {
        f"judge.{precision}.onnx": pytest.approx(in_fp32(bundle, precision), abs=0.06)
        for precision in bundle.manifest.precisions()
    }


def test_what_it_is_made_of_has_to_be_there(anomaly_draft: Path) -> None:
    """The error names what is missing, and what to do."""
    with pytest.raises(BundleError, match=r"int8_fp16 is made of FP16 and INT8, found no fp16: export"):
        add_int8_fp16(anomaly_draft)
