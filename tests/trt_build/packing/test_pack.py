"""A packed bundle is complete, reproduces itself, and is never half there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx
import pytest
from fake_gpu.plans import write_engines
from onnx import helper, numpy_helper

import trt_build.packing.pack
from edge.bundle import describe, read_model, write_manifest
from edge.engines import compiled, open_engine
from edge.errors import BundleError
from edge.judges.golden import check_golden, decisions, scores
from edge.manifest import DraftManifest, InputSpec
from edge.manifest_file import parse_manifest
from edge.recipe import EngineChoice
from trt_build.data.cases import Case, answer, judge_all, pair_cases
from trt_build.data.pairs import Pair, read_pairs
from trt_build.engines.overflow import SumsOverflow
from trt_build.graphs.int8 import add_int8
from trt_build.methods.matcher.method import METHOD as products
from trt_build.methods.stpm.method import METHOD as parts
from trt_build.packing.pack import pack
from trt_build.packing.threshold import CalibrationOptions

SPEC = InputSpec(height=64, width=64)


@pytest.fixture(scope="module")
def pairs(pcb_pairs: Path) -> list[Pair]:
    return read_pairs(pcb_pairs)


@pytest.fixture(scope="module")
def cases(pairs: list[Pair]) -> list[Case]:
    return list(pair_cases(pairs, SPEC))


@pytest.fixture(scope="module")
def packed(calibrated_pcb: Path, cases: list[Case], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a comparator."""
    folder = tmp_path_factory.mktemp("packed") / "line-7"
    pack(calibrated_pcb, folder, cases=cases, notice="Apache-2.0")
    return folder


@pytest.fixture(scope="module")
def packed_anomaly(
    calibrated_anomaly: Path, part_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A bundle of a model that gives a score and a map."""
    folder = tmp_path_factory.mktemp("packed") / "anomaly"
    spec = read_model(calibrated_anomaly).manifest.input
    pack(calibrated_anomaly, folder, cases=parts.held_out(part_folder, spec))
    return folder


@pytest.fixture(scope="module")
def packed_matcher(
    calibrated_matcher: Path, product_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A bundle of a matcher."""
    folder = tmp_path_factory.mktemp("packed") / "matcher"
    spec = read_model(calibrated_matcher).manifest.input
    pack(calibrated_matcher, folder, cases=products.held_out(product_folder, spec))
    return folder


@pytest.mark.parametrize("kind", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("model", ["packed", "packed_anomaly", "packed_matcher"])
def test_every_engine_reproduces_what_was_packed(
    request: pytest.FixtureRequest, model: str, kind: str, precision: str
) -> None:
    """What leaves the build machine runs on the line."""
    bundle = read_model(request.getfixturevalue(model))
    with open_engine(EngineChoice(kind=kind, precision=precision), bundle) as engine:
        check_golden(engine, bundle)


def test_the_manifest_tells_where_the_bundle_comes_from(packed: Path) -> None:
    """Name, notice and figures on held-out pairs travel with the model, and so do thresholds and promises."""
    manifest = read_model(packed).manifest
    assert (manifest.name, manifest.notice) == ("line-7", "Apache-2.0")
    assert manifest.metadata["held_out"]["ap33_open"] == pytest.approx(100)


@pytest.mark.parametrize("model", ["pcb", "anomaly", "matcher"])
def test_what_was_calibrated_is_packed(request: pytest.FixtureRequest, model: str) -> None:
    """Thresholds, what they promise and from where on regions are shown are the draft's to the last bit."""
    draft = read_model(request.getfixturevalue(f"calibrated_{model}")).manifest
    bundle = read_model(request.getfixturevalue("packed" if model == "pcb" else f"packed_{model}")).manifest
    assert bundle.thresholds == draft.thresholds
    assert bundle.calibration == draft.calibration
    assert bundle.region_from == draft.region_from
    assert bundle.artifacts == draft.artifacts


def test_a_draft_that_is_not_calibrated_is_refused(
    anomaly_draft: Path, pcb_draft: Path, cases: list[Case], tmp_path: Path
) -> None:
    """No line judges by a threshold that nobody set; the error says what to run."""
    for draft in (anomaly_draft, pcb_draft):
        with pytest.raises(BundleError, match="its thresholds are not set: run trt-build calibrate"):
            pack(draft, tmp_path / "bundle", cases=cases)
    assert list(tmp_path.iterdir()) == []


def test_a_promise_of_another_graph_is_refused(
    calibrated_anomaly: Path, copy: Callable[[Path], Path], part_folder: Path, tmp_path: Path
) -> None:
    """A threshold set on INT8 says nothing of FP32, nor of INT8 that was rounded otherwise since."""
    spec = read_model(calibrated_anomaly).manifest.input
    kept = list(parts.held_out(part_folder, spec))
    with pytest.raises(
        BundleError, match=r"calibrated on openvino int8, and .* graph of another kind would judge"
    ):
        pack(calibrated_anomaly, tmp_path / "bundle", cases=kept, precision="fp32")
    draft = copy(calibrated_anomaly)
    add_int8(draft, kept[:-3])
    with pytest.raises(BundleError, match="calibrated on openvino int8"):
        pack(draft, tmp_path / "bundle", cases=kept)
    parts.calibrate(draft, part_folder, CalibrationOptions(rate=0.2))
    assert pack(draft, tmp_path / "bundle", cases=kept).manifest.precisions() == ["fp32", "int8"]


def test_tolerances_are_wider_than_what_was_measured(packed: Path) -> None:
    """INT8 may differ by more than its own step, FP32 by no more than what storing rounds."""
    tolerances = read_model(packed).manifest.tolerances
    assert tolerances["fp32"]["map"] == 2e-3
    assert 0.5 / 127 < tolerances["int8"]["map"] < 2 / 127


def test_golden_frames_are_no_near_things(packed: Path) -> None:
    """Another CPU's rounding does not flip them."""
    bundle = read_model(packed)
    limits = np.array(list(bundle.manifest.thresholds.values()))
    assert len(bundle.golden()) == 4
    for case in bundle.golden():
        found = scores(case.expected)
        assert ((found > limits + 0.099) | (found < limits / 2)).all()


@pytest.mark.parametrize("model", ["packed_anomaly", "packed_matcher"])
def test_golden_cases_of_a_score_are_clear_and_of_both_sorts(
    request: pytest.FixtureRequest, model: str
) -> None:
    """Each lies well to one side of the threshold, and each side has one."""
    bundle = read_model(request.getfixturevalue(model))
    (limit,) = bundle.manifest.thresholds.values()
    found = [float(case.expected["score"][0]) for case in bundle.golden()]
    margin = (limit - min(found)) / 10
    assert len(found) == 4
    assert all(abs(score - limit) > margin for score in found)
    assert {bool(decisions(case.expected, bundle.manifest)[0]) for case in bundle.golden()} == {True, False}


@pytest.mark.parametrize("first", ["good", "bad"])
def test_both_sorts_are_found_wherever_they_come(
    calibrated_anomaly: Path, part_folder: Path, tmp_path: Path, first: str
) -> None:
    """Six rejected pictures before the only good one do not keep it out, nor the other way round."""
    source = read_model(calibrated_anomaly)
    tested, _ = parts.labelled(part_folder, source)
    (limit,) = source.manifest.thresholds.values()
    with open_engine(EngineChoice(precision="fp32"), source) as engine:
        scored = sorted(tested, key=lambda case: float(answer(engine, source.manifest, case)["score"][0]))
        is_bad = [bool(answer(engine, source.manifest, case)["score"][0] >= limit) for case in scored]
    good, bad = scored[: is_bad.index(True)], scored[is_bad.index(True) :]
    many, few = (good[:6], bad[-1:]) if first == "good" else (bad[-6:], good[:1])
    bundle = pack(calibrated_anomaly, tmp_path / "bundle", cases=[*many, *few])
    assert few[0].name in {Path(case.frame.path).stem for case in bundle.manifest.golden}


def test_one_sort_alone_makes_golden_cases(calibrated_anomaly: Path, part_folder: Path, tmp_path: Path) -> None:
    """A plant without a single defective part can pack a bundle."""
    spec = read_model(calibrated_anomaly).manifest.input
    good = [case for case in parts.held_out(part_folder, spec) if case.name.startswith("good")]
    bundle = pack(calibrated_anomaly, tmp_path / "bundle", cases=good)
    assert len(bundle.manifest.golden) == 4


def test_pictures_on_which_engines_differ_are_no_golden_cases(
    calibrated_anomaly: Path, copy: Callable[[Path], Path], part_folder: Path, tmp_path: Path
) -> None:
    """Where the threshold lies between FP32 and INT8, a sound engine could not be told from another."""
    draft = copy(calibrated_anomaly)
    source = read_model(draft)
    kept = list(parts.held_out(part_folder, source.manifest.input))
    exact, rounded = (
        [float(scores(said)[0]) for said in judge_all(source, EngineChoice(precision=precision), kept)]
        for precision in ("fp32", "int8")
    )
    apart = [abs(one - other) for one, other in zip(exact, rounded, strict=True)]
    widest = apart.index(max(apart))
    between = (exact[widest] + rounded[widest]) / 2
    write_manifest(draft, msgspec.structs.replace(source.manifest, thresholds={"anomaly": between}))
    bundle = pack(draft, tmp_path / "bundle", cases=kept)
    assert kept[widest].name not in {Path(case.frame.path).stem for case in bundle.manifest.golden}


def test_a_precision_that_is_too_coarse_for_the_threshold_is_refused(
    calibrated_anomaly: Path, copy: Callable[[Path], Path], part_folder: Path, tmp_path: Path
) -> None:
    """INT8 that was shown no light cuts spots off; what reproduces such golden frames would show nothing."""
    draft = copy(calibrated_anomaly)
    spec = read_model(draft).manifest.input
    add_int8(draft, parts.calibration_pictures(part_folder, spec))
    parts.calibrate(draft, part_folder, CalibrationOptions(rate=0.2))
    said = r"tolerances.int8.score: expected at most 0\.\d+, which is 50% of the lowest threshold, found 0\.\d+"
    with pytest.raises(BundleError, match=said):
        pack(draft, tmp_path / "bundle", cases=parts.held_out(part_folder, spec))
    assert not (tmp_path / "bundle").exists()


def test_a_graph_that_could_overflow_is_refused(
    calibrated_anomaly: Path, copy: Callable[[Path], Path], part_folder: Path, tmp_path: Path
) -> None:
    """It would judge rightly here and wrongly on the line's processor; the error names layer and remedy."""
    draft = copy(calibrated_anomaly)
    model = onnx.load(draft / "judge.int8.onnx")
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT8 and tensor.dims:
            tensor.CopyFrom(
                numpy_helper.from_array(numpy_helper.to_array(tensor) * 0 + np.int8(65), tensor.name)
            )
    onnx.save(model, draft / "judge.int8.onnx")
    known = read_manifest(draft)
    artifacts = tuple(
        msgspec.structs.replace(artifact, **describe(draft, artifact.path)) for artifact in known.artifacts
    )
    assert known.calibration is not None
    calibration = msgspec.structs.replace(known.calibration, artifact=artifacts[-1].sha256)
    write_manifest(draft, msgspec.structs.replace(known, artifacts=artifacts, calibration=calibration))
    with pytest.raises(
        SumsOverflow, match=r"judge\.int8\.onnx: the sums of \S+ reach 33150, .* 32767 in 16 bits"
    ):
        pack(draft, tmp_path / "bundle", cases=parts.held_out(part_folder, known.input))


def read_manifest(draft: Path) -> DraftManifest:
    """The manifest, whatever became of the graphs that it names."""
    return parse_manifest((draft / "manifest.json").read_bytes())


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_a_model_is_held_to_its_own_scale(
    calibrated_anomaly: Path, copy: Callable[[Path], Path], part_folder: Path, tmp_path: Path, scale: float
) -> None:
    """Whether scores are ten thousandths or thousands, one that is a hundredth off is noticed."""
    draft = copy(calibrated_anomaly)
    scaled(draft, scale)
    parts.calibrate(draft, part_folder, CalibrationOptions(rate=0.2))
    bundle = pack(
        draft, tmp_path / "bundle", cases=parts.held_out(part_folder, read_model(draft).manifest.input)
    )
    for name, tolerance in bundle.manifest.tolerances["fp32"].items():
        assert tolerance < max(float(np.abs(case.expected[name]).max()) for case in bundle.golden()) / 100
    for kind in ("openvino", "onnxruntime"):
        with open_engine(EngineChoice(kind=kind), bundle) as engine:
            check_golden(engine, bundle)


def scaled(draft: Path, by: float) -> None:
    """Multiply what the draft's graphs answer."""
    manifest = read_model(draft).manifest
    artifacts = []
    for artifact in manifest.artifacts:
        model = onnx.load(draft / artifact.path)
        (node,) = (node for node in model.graph.node if node.output[0] == "map")
        node.output[0] = "unscaled"
        at = list(model.graph.node).index(node)
        model.graph.initializer.append(numpy_helper.from_array(np.float32(by), "by"))
        model.graph.node.insert(at + 1, helper.make_node("Mul", ["unscaled", "by"], ["map"]))
        onnx.save(model, draft / artifact.path)
        artifacts.append(msgspec.structs.replace(artifact, **describe(draft, artifact.path)))
    write_manifest(draft, msgspec.structs.replace(manifest, artifacts=tuple(artifacts)))


def test_a_matchers_golden_case_has_its_drawing(packed_matcher: Path, product_folder: Path) -> None:
    """The first is of another product, and what it is compared with is packed as the engine was given it."""
    bundle = read_model(packed_matcher)
    given = {case.name: case.master for case in products.held_out(product_folder, bundle.manifest.input)}
    assert bundle.manifest.golden[0].frame.path.endswith("-other.png")
    for case in bundle.golden():
        assert np.array_equal(case.master, given[Path(case.name).stem])


def test_golden_pictures_keep_their_colours(packed_anomaly: Path, part_folder: Path) -> None:
    """What is read from the bundle is what the engine was given."""
    bundle = read_model(packed_anomaly)
    given = {case.name: case.image for case in parts.held_out(part_folder, bundle.manifest.input)}
    for case in bundle.golden():
        assert np.array_equal(case.image, given[Path(case.name).stem])


def test_golden_cases_take_little_room(packed: Path) -> None:
    """Stored outputs are packed, not as large as in memory."""
    case = read_model(packed).manifest.golden[0]
    assert case.expected.bytes < 10 * 16 * 16 * 4 / 2


def test_golden_frames_may_come_from_elsewhere(
    calibrated_pcb: Path, pairs: list[Pair], cases: list[Case], tmp_path: Path
) -> None:
    """Pictures that may not be passed on stay out of the bundle."""
    bundle = pack(calibrated_pcb, tmp_path / "bundle", cases=cases, golden=pair_cases(pairs[50:52], SPEC))
    assert [case.frame.path for case in bundle.manifest.golden] == ["golden/50.png", "golden/51.png"]


def test_masters_are_packed_by_view(
    calibrated_pcb: Path, pairs: list[Pair], cases: list[Case], tmp_path: Path
) -> None:
    """A line can run with the bundle's own masters."""
    cv2.imwrite(str(tmp_path / "top.png"), pairs[3].master)
    bundle = pack(calibrated_pcb, tmp_path / "bundle", cases=cases, masters={"top": tmp_path / "top.png"})
    assert np.array_equal(bundle.master("top"), pairs[3].master)


def test_a_master_is_packed_once(
    calibrated_pcb: Path, pairs: list[Pair], cases: list[Case], tmp_path: Path
) -> None:
    """A golden case that has a view's master names that file."""
    cv2.imwrite(str(tmp_path / "top.png"), pairs[50].master)
    masters = {"top": tmp_path / "top.png"}
    bundle = pack(
        calibrated_pcb, tmp_path / "bundle", cases=cases, golden=pair_cases(pairs[50:52], SPEC), masters=masters
    )
    first, second = bundle.manifest.golden
    assert first.master == bundle.manifest.masters["top"]
    assert second.master is not None
    assert second.master.path == "golden/51_master.png"
    assert not (bundle.folder / "golden/50_master.png").exists()


def test_a_master_that_is_no_picture_is_refused(
    calibrated_pcb: Path, cases: list[Case], tmp_path: Path
) -> None:
    """The error names the file, and no bundle is left."""
    (tmp_path / "top.png").write_bytes(b"not a picture")
    with pytest.raises(BundleError, match=r"top\.png: expected a picture"):
        pack(calibrated_pcb, tmp_path / "bundle", cases=cases, masters={"top": tmp_path / "top.png"})
    assert not (tmp_path / "bundle").exists()


def test_a_bundle_may_have_one_precision_only(calibrated_pcb: Path, cases: list[Case], tmp_path: Path) -> None:
    """Beside FP32, to which a line falls back, a small bundle holds what was asked for."""
    bundle = pack(calibrated_pcb, tmp_path / "bundle", cases=cases, precision="fp32")
    assert bundle.manifest.precisions() == ["fp32"]
    assert list(bundle.manifest.tolerances) == ["fp32"]
    assert not (bundle.folder / "judge.int8.onnx").exists()
    both = pack(calibrated_pcb, tmp_path / "both", cases=cases, precision="int8")
    assert both.manifest.precisions() == ["fp32", "int8"]


def test_the_engines_of_a_draft_are_packed(
    calibrated_anomaly: Path, copy: Callable[[Path], Path], part_folder: Path, tmp_path: Path
) -> None:
    """They need not be built again; of graphs that are left out there are none, and the bundle is the same."""
    draft = write_engines(copy(calibrated_anomaly))
    cases = list(parts.held_out(part_folder, read_model(draft).manifest.input))
    bundle = pack(draft, tmp_path / "bundle", cases=cases)
    copied = [found for _, found in compiled.kept(bundle.folder)]
    assert copied == [found for _, found in compiled.kept(draft)] != []
    for found in copied:
        assert not isinstance(found, str)
        assert compiled.read_plan(bundle, found)
    write_manifest(draft, msgspec.structs.replace(read_model(draft).manifest, calibration=None))
    (kept,) = (found for found in copied if isinstance(found, compiled.Compiled))
    other = msgspec.structs.replace(
        kept, precision="int8", graph=read_model(draft).digest_of_graph("judge", "int8")
    )
    (draft / "engines" / "other.engine.json").write_bytes(msgspec.json.encode(other))
    small = pack(draft, tmp_path / "small", cases=cases, precision="fp32")
    assert [found for _, found in compiled.kept(small.folder)] == [kept]


def test_a_bundle_is_never_overwritten(packed: Path, calibrated_pcb: Path, cases: list[Case]) -> None:
    """A digest in an old verdict still names what judged."""
    with pytest.raises(BundleError, match="exists, and a bundle never changes"):
        pack(calibrated_pcb, packed, cases=cases)


def test_pairs_that_are_all_near_things_are_refused(
    calibrated_pcb: Path, cases: list[Case], tmp_path: Path
) -> None:
    """The error says what a golden frame needs."""
    with pytest.raises(BundleError, match="none of 2 pictures is judged clearly"):
        pack(calibrated_pcb, tmp_path / "bundle", cases=cases[:2])
    assert not (tmp_path / "bundle").exists()


def test_a_kill_leaves_no_half_bundle(
    calibrated_pcb: Path, cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing bears the bundle's name before all of it is there; the next attempt starts afresh."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trt_build.packing.pack, "write_manifest", die)
        with pytest.raises(KeyboardInterrupt):
            pack(calibrated_pcb, tmp_path / "bundle", cases=cases)
    assert list(tmp_path.iterdir()) == []
    left = tmp_path / ".bundle.part" / "bundle" / "left over"  # as a process leaves it that is killed outright
    left.parent.mkdir(parents=True)
    left.touch()
    pack(calibrated_pcb, tmp_path / "bundle", cases=cases)
    graphs = {f"{role}.{precision}.onnx" for role in ("judge", "reference") for precision in ("fp32", "int8")}
    assert {path.name for path in (tmp_path / "bundle").iterdir()} == {"golden", "manifest.json", *graphs}
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
