"""An engine that judges otherwise than the FP32 reference is told apart from one that does not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edge.bundle import Bundle, read_model
from edge.engines import open_engine
from edge.errors import EngineError
from edge.recipe import EngineChoice
from trt_build.data.cases import Case, answer, judge_all, pair_cases
from trt_build.data.pairs import Pair, read_pairs
from trt_build.data.products import PHOTO
from trt_build.engines.verify import CLOSE, Measure, check_draft, noise, verify
from trt_build.figures.parts import evaluate
from trt_build.methods.comparator.calibrate import measure_of
from trt_build.methods.matcher.method import METHOD as products
from trt_build.methods.matcher.split import held_out_pictures
from trt_build.methods.stpm.method import METHOD as parts
from trt_build.packing.pack import pack

INT8 = EngineChoice(kind="openvino", precision="int8")
Labelled = tuple[list[Case], Measure]
NOTHING: Measure = lambda answers: 0.0  # noqa: E731  (there is nothing to measure)


@pytest.fixture(scope="module")
def pairs(pcb_pairs: Path) -> list[Pair]:
    """Boards whose score is well under or well over even odds."""
    return [pair for pair in read_pairs(pcb_pairs) if abs(int(pair.name) - 50) > 6]


@pytest.fixture(scope="module")
def labelled(pcb_bundle: Path, pairs: list[Pair]) -> Labelled:
    """What `verify` asks of these boards."""
    manifest = read_model(pcb_bundle).manifest
    return list(pair_cases(pairs, manifest.input)), measure_of(pairs, manifest.kinds)


@pytest.fixture(scope="module")
def anomaly(calibrated_anomaly: Path, part_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A packed model that gives a score and a map."""
    spec = read_model(calibrated_anomaly).manifest.input
    folder = tmp_path_factory.mktemp("packed") / "anomaly"
    return pack(calibrated_anomaly, folder, cases=parts.held_out(part_folder, spec))


def coarser(folder: Path, tmp_path: Path, step: float) -> Bundle:
    """The bundle with an INT8 graph whose quantisation step is `step`; its golden cases put up with it."""
    copy = Path(shutil.copytree(folder, tmp_path / "coarse"))
    model = onnx.load(copy / "judge.int8.onnx")
    for constant in model.graph.initializer:
        if constant.name == "step":
            constant.CopyFrom(numpy_helper.from_array(np.array(step, np.float32), "step"))
    bundle = read_model(copy)
    onnx.save(model, copy / "judge.int8.onnx")
    tolerances = bundle.manifest.tolerances | {"int8": dict.fromkeys(("map", "extents", "score"), 1.0)}
    return replace(bundle, manifest=msgspec.structs.replace(bundle.manifest, tolerances=tolerances))


def test_a_sound_engine_is_passed_with_its_figures(
    pcb_bundle: Path, labelled: tuple[list[Case], Measure]
) -> None:
    """Differences within a step, no board decided otherwise, no precision lost."""
    found = verify(read_model(pcb_bundle), INT8, *labelled)
    assert found is not None
    assert (found.engine, found.cases, found.flipped) == ("openvino int8", len(labelled[0]), [])
    assert 0 < found.differences["map"] < 1 / 127
    assert found.quality == pytest.approx(found.reference)


def test_golden_cases_alone_are_enough(pcb_bundle: Path) -> None:
    """A bundle can be verified where there are no labelled pictures."""
    assert verify(read_model(pcb_bundle), INT8, [], NOTHING) is None


def test_a_bundle_without_fp32_has_its_golden_cases_only(
    pcb_bundle: Path, labelled: tuple[list[Case], Measure]
) -> None:
    """What the labelled boards would be held against is not there, and the error says so."""
    bundle = read_model(pcb_bundle)
    int8 = tuple(a for a in bundle.manifest.artifacts if (a.role, a.precision) != ("judge", "fp32"))
    small = replace(bundle, manifest=msgspec.structs.replace(bundle.manifest, artifacts=int8))
    assert verify(small, INT8, [], NOTHING) is None
    with pytest.raises(EngineError, match=r"engine\.precision 'fp32': of bundle pcb, onnxruntime can run int8"):
        verify(small, INT8, *labelled)


def test_a_golden_case_that_is_not_reproduced_fails(tiny_bundle: Path) -> None:
    """Whatever the labelled boards say."""
    bundle = read_model(tiny_bundle)
    strict = bundle.manifest.tolerances | {"int8": dict.fromkeys(("map", "extents", "score"), 0.0)}
    with pytest.raises(EngineError, match="golden frame golden/clean"):
        verify(
            replace(bundle, manifest=msgspec.structs.replace(bundle.manifest, tolerances=strict)),
            INT8,
            [],
            NOTHING,
        )


def test_decisions_that_flip_fail(
    pcb_bundle: Path, tmp_path: Path, labelled: tuple[list[Case], Measure]
) -> None:
    """Steps of 0.28 lift a score of 0.45 over 0.5; the boards are named."""
    with pytest.raises(EngineError, match=r"decides otherwise on \d+ of 47 pictures \(\d\d"):
        verify(coarser(pcb_bundle, tmp_path, 0.28), INT8, *labelled)


def test_precision_that_is_lost_fails(
    pcb_bundle: Path, tmp_path: Path, labelled: tuple[list[Case], Measure]
) -> None:
    """An engine that sees only the strongest defects escapes the others, and is refused."""
    with pytest.raises(EngineError, match=r"openvino int8 loses \d+\.\d+ points of quality, more than 1"):
        verify(coarser(pcb_bundle, tmp_path, 0.8), INT8, *labelled)


def test_a_sound_engine_of_scores_is_passed_with_its_auroc(anomaly: Bundle, part_folder: Path) -> None:
    """The reference's figure and its own, in points, and by how much scores and maps differ."""
    found = verify(anomaly, INT8, *parts.labelled(part_folder, anomaly))
    assert found is not None
    assert found.flipped == []
    assert 0 < found.differences["score"] < found.differences["map"] < 0.02
    ours, theirs = (
        judge_all(anomaly, choice, parts.labelled(part_folder, anomaly)[0])
        for choice in (INT8, EngineChoice(precision="fp32"))
    )
    apart = [abs(float(a["score"][0] - b["score"][0])) for a, b in zip(ours, theirs, strict=True)]
    assert found.differences["score"] == pytest.approx(max(apart), rel=1e-3)
    exact = evaluate(anomaly, part_folder, EngineChoice(precision="fp32")).figures
    assert found.reference == pytest.approx(100 * exact["image_auroc"])
    assert found.quality == pytest.approx(found.reference, abs=1)


def shifted(bundle: Bundle, folder: Path, operator: str, by: float) -> Bundle:
    """The bundle with an INT8 score that was altered; its golden cases put up with it."""
    copy = Path(shutil.copytree(bundle.folder, folder))
    model = onnx.load(copy / "judge.int8.onnx")
    (node,) = (node for node in model.graph.node if node.output[0] == "score")
    node.output[0] = "right"
    model.graph.initializer.append(numpy_helper.from_array(np.float32(by), "by"))
    model.graph.node.append(helper.make_node(operator, ["right", "by"], ["score"]))
    onnx.save(model, copy / "judge.int8.onnx")
    manifest = msgspec.structs.replace(bundle.manifest, golden=bundle.manifest.golden[-1:])
    wide = manifest.tolerances | {"int8": dict.fromkeys(("map", "score"), 9.0)}
    return replace(bundle, folder=copy, manifest=msgspec.structs.replace(manifest, tolerances=wide))


def test_an_engine_of_scores_that_flips_too_many_fails(
    anomaly: Bundle, part_folder: Path, tmp_path: Path
) -> None:
    """Every score is lower by the same, so that the order is kept and the AUROC says nothing of it."""
    wrong = shifted(anomaly, tmp_path / "wrong", "Sub", 0.012)
    with pytest.raises(
        EngineError, match=r"decides otherwise on \d+ of 22 pictures \((spot|good)-\d+.*more than 2%"
    ):
        verify(wrong, INT8, *parts.labelled(part_folder, wrong))


def test_an_engine_of_scores_that_loses_too_much_fails(
    anomaly: Bundle, part_folder: Path, tmp_path: Path
) -> None:
    """Scores that end at a highest one, as INT8 cuts off what it was not shown, tell no parts apart."""
    wrong = shifted(anomaly, tmp_path / "wrong", "Min", 0.01)
    with pytest.raises(EngineError, match=r"openvino int8 loses \d+\.\d+ points of quality, more than 1"):
        verify(wrong, INT8, *parts.labelled(part_folder, wrong))


def test_one_picture_at_the_threshold_is_not_held_against_an_engine(anomaly: Bundle, part_folder: Path) -> None:
    """A threshold is some part's score, so rounding alone decides on that part; it is named all the same."""
    cases, _ = parts.labelled(part_folder, anomaly)
    (one, *_) = (case for case in cases if case.name.startswith("good"))
    said = []
    for precision in ("fp32", "int8"):
        with open_engine(EngineChoice(precision=precision), anomaly) as engine:
            said.append(float(answer(engine, anomaly.manifest, one)["score"][0]))
    assert said[0] != said[1]
    at = msgspec.structs.replace(anomaly.manifest, thresholds={"anomaly": max(said)})
    found = verify(replace(anomaly, manifest=at), INT8, *parts.labelled(part_folder, anomaly))
    assert found is not None
    assert found.flipped == [one.name]


def test_a_matcher_is_verified_on_products_kept_from_training(
    calibrated_matcher: Path, product_folder: Path, tmp_path: Path
) -> None:
    """Each photo with its own drawings and with another's, told apart as well by INT8."""
    spec = read_model(calibrated_matcher).manifest.input
    bundle = pack(calibrated_matcher, tmp_path / "bundle", cases=products.held_out(product_folder, spec))
    found = verify(bundle, INT8, *products.labelled(product_folder, bundle))
    assert found is not None
    assert found.cases == 2 * (held_out_pictures(product_folder, spec).hand == PHOTO).sum()
    assert len(found.flipped) <= 1, "only the photo that set the threshold lies on it"
    assert found.quality == pytest.approx(found.reference, abs=0.5)
    assert set(found.differences) == {"embedding", "score"}


def test_an_engine_of_a_draft_is_held_against_its_own_graph(anomaly_draft: Path, part_folder: Path) -> None:
    """Before there are golden frames: by how much it differs is told, and nothing of quality."""
    draft = read_model(anomaly_draft)
    cases = list(parts.held_out(part_folder, draft.manifest.input))[:4]
    found = check_draft(draft, INT8, cases)
    assert (found.engine, found.cases, found.quality) == ("openvino int8", 4, None)
    assert set(found.differences) == {"map", "score"}
    assert all(difference < 0.01 for difference in found.differences.values())


@pytest.mark.parametrize("model", ["anomaly_draft", "matcher_draft", "pcb_draft"])
def test_a_draft_is_checked_without_pictures_too(request: pytest.FixtureRequest, model: str) -> None:
    """Noise is enough to tell whether an engine computes what the graph says, masters and drawings included."""
    draft = read_model(request.getfixturevalue(model))
    cases = list(noise(draft.manifest))
    assert len({case.image.tobytes() for case in cases}) == len(cases)
    assert check_draft(draft, INT8, cases).cases == len(cases)


def with_map(draft: Path, folder: Path, *nodes: tuple[str, dict[str, object]]) -> Bundle:
    """A copy of the draft whose FP32 map goes through further nodes, each of the one before."""
    copy = Path(shutil.copytree(draft, folder))
    model = onnx.load(copy / "judge.fp32.onnx")
    (node,) = (node for node in model.graph.node if node.output[0] == "map")
    node.output[0] = "before 0"
    for number, (operator, attributes) in enumerate(nodes):
        after = "map" if number == len(nodes) - 1 else f"before {number + 1}"
        made = helper.make_node(operator, [f"before {number}"], [after], **attributes)
        model.graph.node.insert(list(model.graph.node).index(node) + 1 + number, made)
    onnx.save(model, copy / "judge.fp32.onnx")
    return replace(read_model(draft), folder=copy)


def test_an_engine_that_computes_something_else_is_refused(anomaly_draft: Path, tmp_path: Path) -> None:
    """A map drawn by lot is another one on each engine; the error says how far off it is."""
    drawn = with_map(anomaly_draft, tmp_path / "drawn", ("RandomUniformLike", {}))
    with pytest.raises(
        EngineError, match=r"(map|score) differs by 0\.\d+ from ONNX Runtime on the same graph, more than"
    ):
        check_draft(drawn, EngineChoice(kind="openvino", precision="fp32"), noise(drawn.manifest))


def test_an_engine_of_a_draft_that_gives_no_numbers_is_refused(anomaly_draft: Path, tmp_path: Path) -> None:
    """No difference is larger than one that is not a number."""
    broken = with_map(anomaly_draft, tmp_path / "broken", ("Neg", {}), ("Sqrt", {}))
    with pytest.raises(EngineError, match=r"(map|score) is not a number everywhere"):
        check_draft(broken, EngineChoice(kind="openvino", precision="fp32"), noise(broken.manifest))


def test_what_is_rounded_more_may_differ_more() -> None:
    """Of each precision it is known how much, and FP32 means FP32."""
    assert CLOSE["fp32"] < CLOSE["fp16"] < CLOSE["int8"] == CLOSE["int8_fp16"] == CLOSE["fp8"] < 1
