"""What is exported computes what was trained, in graphs that OpenVINO and TensorRT both take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

pytest.importorskip("modelopt")

from networks import NETWORKS  # noqa: E402  (only where torch is)

from edge.bundle import Bundle, read_model  # noqa: E402
from edge.engines import open_engine  # noqa: E402
from edge.engines.base import Sample  # noqa: E402
from edge.judges.golden import differences  # noqa: E402
from edge.manifest import InputSpec  # noqa: E402
from edge.recipe import EngineChoice  # noqa: E402
from edge.render.defects import KINDS  # noqa: E402
from trt_build.data.cases import Case, pair_cases  # noqa: E402
from trt_build.data.pairs import Pair  # noqa: E402
from trt_build.graphs.fp32 import export, export_checkpoint  # noqa: E402
from trt_build.graphs.int8 import add_int8  # noqa: E402
from trt_build.methods.base import Exportable, ExportError  # noqa: E402
from trt_build.methods.checkpoint import CheckpointError  # noqa: E402
from trt_build.methods.comparator.method import METHOD as COMPARATOR  # noqa: E402
from trt_build.methods.comparator.network import Comparator, ComparatorConfig  # noqa: E402
from trt_build.methods.matcher.network import Matcher, MatcherConfig  # noqa: E402

SIZE = (64, 96)  # height, width


@pytest.fixture(scope="module")
def model() -> Comparator:
    """A small comparator with random weights that gives maps of all heights."""
    torch.manual_seed(0)
    model = Comparator(ComparatorConfig(kinds=KINDS, stem=4, widths=(4, 8, 8, 8), blocks=(0, 1, 0, 0)))
    torch.nn.init.normal_(model.kind.weight, std=100)  # what comes before it is faint
    torch.nn.init.zeros_(model.kind.bias)
    return model.eval()


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (6, 2, *SIZE)).astype(np.uint8)
    none = {"boxes": np.zeros((0, 4), np.float32), "kinds": np.zeros(0, np.int64)}
    return [Pair(name=str(i), master=a, board=b, **none) for i, (a, b) in enumerate(pictures)]


@pytest.fixture(scope="module")
def cases(pairs: list[Pair]) -> list[Case]:
    return list(pair_cases(pairs, InputSpec(height=SIZE[0], width=SIZE[1])))


@pytest.fixture(scope="module")
def draft(model: Comparator, cases: list[Case], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FP32 and INT8 graphs of the model."""
    folder = tmp_path_factory.mktemp("draft")
    export(model, COMPARATOR, folder, height=SIZE[0], width=SIZE[1])
    add_int8(folder, cases)
    return folder


@pytest.fixture
def run(draft: Path) -> Callable[[str, Pair], dict[str, Any]]:
    """Runs a judge of the draft, and the reference before it."""

    def run(judge: str, pair: Pair) -> dict[str, Any]:
        manifest = read_model(draft).manifest
        first, second = (
            ort.InferenceSession(draft / name) for name in (judge.replace("judge", "reference"), judge)
        )
        features = first.run(manifest.features, {"master": pair.master[None, None]})
        feed = {"image": pair.board[None, None], **dict(zip(manifest.features, features, strict=True))}
        return dict(zip(manifest.outputs, second.run(tuple(manifest.outputs), feed), strict=True))

    return run


def test_the_graphs_compute_what_the_network_computes(
    model: Comparator, pairs: list[Pair], run: Callable[[str, Pair], dict[str, Any]]
) -> None:
    """Master and board in, the same map and extents out, whichever way."""
    pair = pairs[0]
    with torch.inference_mode():
        map_, extents = model(*(torch.from_numpy(p)[None, None] for p in (pair.master, pair.board)))
    found = run("judge.fp32.onnx", pair)
    assert found["map"].std() > 0.05
    np.testing.assert_allclose(found["map"], map_.numpy(), atol=1e-5)
    np.testing.assert_allclose(found["extents"], extents.numpy(), atol=1e-4)


def test_int8_stays_close(draft: Path, pairs: list[Pair], run: Callable[[str, Pair], dict[str, Any]]) -> None:
    """Calibrated on these pictures, the map moves by little of its range."""
    manifest = read_model(draft).manifest
    apart = differences(run("judge.int8.onnx", pairs[0]), run("judge.fp32.onnx", pairs[0]), manifest)
    assert 0 < apart["map"] < 0.1


def test_a_draft_is_read_as_a_bundle(draft: Path, model: Comparator) -> None:
    """Digests, shapes and kinds are those of the graphs."""
    manifest = read_model(draft).manifest
    assert manifest.precisions() == ["fp32", "int8"]
    assert manifest.input.shape == (1, 1, *SIZE)
    assert manifest.outputs == {"map": (1, 6, 16, 24), "extents": (1, 4, 16, 24)}
    assert manifest.kinds == KINDS


@pytest.mark.parametrize(
    "name", ["reference.fp32.onnx", "reference.int8.onnx", "judge.fp32.onnx", "judge.int8.onnx"]
)
def test_a_graph_is_one_file_of_one_size_with_bytes_in(draft: Path, name: str) -> None:
    """Nothing is left to be scaled, sized or fetched on the line but how many parts are judged at once."""
    graph = onnx.load(draft / name).graph
    picture = graph.input[0].type.tensor_type
    assert picture.elem_type == onnx.TensorProto.UINT8
    assert [d.dim_value for d in picture.shape.dim][1:] == [1, *SIZE]
    for value in (*graph.input, *graph.output):
        batch, *others = value.type.tensor_type.shape.dim
        assert batch.dim_param == "batch"
        assert all(d.dim_value > 0 for d in others)
    assert not any(tensor.external_data for tensor in graph.initializer)


@pytest.mark.parametrize("name", NETWORKS)
def test_parts_judged_at_once_are_judged_as_one_by_one(network: Callable[[str], Bundle], name: str) -> None:
    """Of each model of the table, rounded or not, and no node reckons with how many there are."""
    bundle = network(name)
    spec = bundle.manifest.input
    boards, masters = np.random.default_rng(3).integers(0, 256, (2, 3, *spec.shape[1:]), np.uint8)
    for artifact in bundle.manifest.artifacts:
        kinds = {node.op_type for node in onnx.load(bundle.folder / artifact.path).graph.node}
        assert not kinds & {"Shape", "Size", "Gather", "If", "Loop", "Expand", "ConstantOfShape", "Tile"}
    for precision in ("fp32", "int8"):
        judge = ort.InferenceSession(bundle.artifact("judge", precision))
        fed = {"image": boards}
        if bundle.manifest.features:
            reference = ort.InferenceSession(bundle.artifact("reference", precision))
            names = bundle.manifest.features
            fed |= dict(zip(names, reference.run(names, {"master": masters}), strict=True))
        singly = [judge.run(None, {key: value[i : i + 1] for key, value in fed.items()}) for i in range(3)]
        for at_once, single in zip(judge.run(None, fed), zip(*singly, strict=True), strict=True):
            largest = float(np.abs(at_once).max())
            assert largest > 0
            np.testing.assert_allclose(at_once, np.concatenate(single), rtol=1e-4, atol=1e-5 * largest)


def test_graphs_do_not_tell_of_the_machine_they_were_made_on(draft: Path) -> None:
    """No path of a source file is left in what is handed on."""
    for graph in draft.glob("*.onnx"):
        whole = graph.read_bytes()
        assert not any(word in whole for word in (b"stack_trace", b"/trt_build/", b"/torch/nn/"))


def test_quantisation_is_what_tensorrt_takes(draft: Path) -> None:
    """Zero points are zero, weights have a scale for each channel, and no bias is an integer.

    The one convolution that reads the board itself is not rounded.
    """
    graph = onnx.load(draft / "judge.int8.onnx").graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert not constants[node.input[2]].any()
    first, *others = (node for node in graph.node if node.op_type == "Conv")
    assert first.input[1] in constants
    for node in others:
        weight = made_by[node.input[1]]
        assert weight.op_type == "DequantizeLinear"
        assert constants[weight.input[1]].size == constants[weight.input[0]].shape[0]
        assert all(constants[bias].dtype == np.float32 for bias in node.input[2:])


def apart_at(graph: Any, level: int) -> str:
    """The name of the difference of board and master at a level."""
    (minus,) = (node for node in graph.node if f"feature_{level}" in node.input)
    (absolute,) = (node for node in graph.node if minus.output[0] in node.input)
    return str(absolute.output[0])


def test_ranges_are_those_that_the_pairs_show(model: Comparator, pairs: list[Pair], draft: Path) -> None:
    """Differences from real masters, not from anything else, set the step at which they are rounded."""
    graph = onnx.load(draft / "judge.int8.onnx").graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    (rounding,) = (
        node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] == apart_at(graph, 0)
    )
    with torch.inference_mode():
        boards, masters = (
            [model.encode(torch.from_numpy(picture)[None, None])[0] for picture in pictures]
            for pictures in ([pair.board for pair in pairs], [pair.master for pair in pairs])
        )
    highest = max(float((a - b).abs().max()) for a, b in zip(boards, masters, strict=True))
    assert 127 * constants[rounding.input[1]] == pytest.approx(highest, rel=0.05)


def test_quantising_again_replaces(draft: Path, cases: list[Case]) -> None:
    """A draft has one INT8 judge however often it was calibrated."""
    add_int8(draft, cases[:3])
    manifest = read_model(draft).manifest
    assert manifest.precisions() == ["fp32", "int8"]
    assert manifest.metadata["calibration_pictures"] == 3


def test_a_checkpoint_is_exported_with_its_metadata(model: Comparator, tmp_path: Path) -> None:
    """The averaged weights, and what they were trained as."""
    config = {"kinds": KINDS, "stem": 4, "widths": (4, 8, 8, 8), "blocks": (0, 1, 0, 0), "in_channels": 1}
    describe = {"model": "comparator", "config": config}
    checkpoint = tmp_path / "checkpoint.pt"
    torch.save({"weights": model.state_dict(), "describe": describe, "epoch": 7}, checkpoint)
    export_checkpoint(checkpoint, tmp_path / "draft", height=32, width=32)
    metadata = read_model(tmp_path / "draft").manifest.metadata
    assert metadata["epochs"] == 7
    assert metadata["network"]["stem"] == 4


class Uneven(torch.nn.Module):
    """A score and a map of its picture, `(N, 3, 32, 48)` RGB: red against blue, where it is most."""

    def forward(self, image: Any) -> tuple[Any, Any]:
        scaled = image.float() / 255
        cells = torch.nn.functional.avg_pool2d(scaled[:, :1] - scaled[:, 2:], 8).abs()
        return cells.amax(dim=(1, 2, 3)), cells


def test_a_model_of_scores_is_exported_as_one_graph(tmp_path: Path) -> None:
    """What comes first is the score and then the map, whose stride is read off it; it is not calibrated."""
    spec = InputSpec(height=32, width=48, color="rgb")

    class Scores:
        name = "stpm"

        def exportable(self, network: torch.nn.Module, *, height: int, width: int) -> Exportable:
            return Exportable(input=spec, kinds=("anomaly",), outputs=("score", "map"), judge=network)

    export(Uneven(), Scores(), tmp_path, metadata={"epochs": 3})
    bundle = read_model(tmp_path)
    manifest = bundle.manifest
    assert [(a.role, a.precision) for a in manifest.artifacts] == [("judge", "fp32")]
    assert (manifest.method, manifest.kinds, manifest.input) == ("stpm", ("anomaly",), spec)
    assert (manifest.outputs, manifest.stride) == ({"score": (1,), "map": (1, 1, 4, 6)}, 8)
    assert manifest.metadata == {"epochs": 3}
    image = np.zeros(spec.shape, np.uint8)
    image[0, 0, 8:16, 24:32] = 51
    for kind in ("openvino", "onnxruntime"):
        with open_engine(EngineChoice(kind=kind), bundle) as engine:
            engine.submit(0, [Sample(image)])
            outputs = engine.collect(0)[0]
            assert outputs["score"] == pytest.approx([0.2])
            assert np.argwhere(outputs["map"]).tolist() == [[0, 0, 1, 3]]


def test_a_matcher_is_exported_at_the_size_it_was_trained_for(tmp_path: Path) -> None:
    """Height and width of a comparator do not touch it; its vectors are those of the network."""
    torch.manual_seed(0)
    config = MatcherConfig(size=40, in_channels=3, widths=(4, 8), blocks=(0, 0), embedding=12)
    model = Matcher(config).eval()
    describe = {"model": "matcher", "config": asdict(config)}
    torch.save({"weights": model.state_dict(), "describe": describe, "epoch": 2}, tmp_path / "checkpoint.pt")
    export_checkpoint(tmp_path / "checkpoint.pt", tmp_path / "draft", height=64, width=96)
    bundle = read_model(tmp_path / "draft")
    assert bundle.manifest.input == InputSpec(height=40, width=40, color="rgb")
    assert (bundle.manifest.outputs, bundle.manifest.kinds) == ({"embedding": (1, 12)}, ("product",))
    image = np.random.default_rng(0).integers(0, 256, (1, 3, 40, 40), np.uint8)
    with open_engine(EngineChoice(), bundle) as engine, torch.inference_mode():
        engine.submit(0, [Sample(image)])
        np.testing.assert_allclose(engine.collect(0)[0]["embedding"], model(torch.from_numpy(image)), atol=1e-5)


def test_a_model_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    """The error names it, and what there is."""
    state = {"weights": {}, "describe": {"model": "oracle", "config": {}}, "epoch": 1}
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="'oracle'; known are comparator, matcher, "):
        export_checkpoint(tmp_path / "checkpoint.pt", tmp_path / "draft")
    assert not (tmp_path / "draft").exists()


def test_a_size_that_does_not_halve_five_times_is_refused(model: Comparator, tmp_path: Path) -> None:
    """Before minutes are spent."""
    with pytest.raises(ExportError, match="multiples of 32, found 96x72"):
        export(model, COMPARATOR, tmp_path, height=72, width=96)


@pytest.mark.parametrize("content", [b"", b"text"], ids=["empty", "text"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    """The error names the file."""
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt: not a checkpoint"):
        export_checkpoint(tmp_path / "checkpoint.pt", tmp_path / "draft", height=64, width=64)
