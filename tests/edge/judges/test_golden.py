"""An engine that does not say what the FP32 model said is not let near the line."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge.bundle import Bundle, Golden, read_bundle
from edge.engines import open_engine
from edge.engines.base import Engine, Sample
from edge.errors import EngineError
from edge.judges.golden import check_golden, differences
from edge.manifest import Manifest
from edge.recipe import EngineChoice


def check(bundle: Bundle) -> None:
    with open_engine(EngineChoice(), bundle) as engine:
        check_golden(engine, bundle)


def changed(folder: Path, **fields: object) -> Bundle:
    """The bundle with other fields in its manifest."""
    bundle = read_bundle(folder)
    return replace(bundle, manifest=msgspec.structs.replace(bundle.manifest, **fields))


def altered_case(folder: Path, tmp_path: Path, alter: Callable[[np.ndarray, np.ndarray], object]) -> Bundle:
    """The bundle with the second case's expected map and extents altered."""
    copy = Path(shutil.copytree(folder, tmp_path / "bundle"))
    bundle = read_bundle(copy)
    outputs = bundle.golden()[1].expected
    alter(outputs["map"], outputs["extents"])
    np.savez(copy / "golden/spotted.npz", **outputs)
    return bundle


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_sound_engine_reproduces_the_golden_cases(tiny_bundle: Path, precision: str) -> None:
    """Within the tolerance of its own precision."""
    bundle = read_bundle(tiny_bundle)
    with open_engine(EngineChoice(precision=precision), bundle) as engine:
        check_golden(engine, bundle)


def test_an_engine_that_answers_otherwise_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    """The error names the frame, the output, how far it lies off and how far it may."""

    def alter(heat: np.ndarray, _: np.ndarray) -> None:
        heat[0, 0, 2, 3] += 0.02

    said = r"golden frame golden/spotted.png on openvino int8: map differs by 0.02.* more than 0.01"
    with pytest.raises(EngineError, match=said):
        check(altered_case(tiny_bundle, tmp_path, alter))


def test_extents_count_where_something_was_found(tiny_bundle: Path, tmp_path: Path) -> None:
    """A box that is off is noticed."""

    def alter(heat: np.ndarray, extents: np.ndarray) -> None:
        extents[:, :, heat[0, 0] > 0.5] += 1

    with pytest.raises(EngineError, match="extents differs by 1 from the expected"):
        check(altered_case(tiny_bundle, tmp_path, alter))


def test_extents_of_nothing_do_not_count(tiny_bundle: Path, tmp_path: Path) -> None:
    """A network may say anything of boxes that nobody reads."""

    def alter(heat: np.ndarray, extents: np.ndarray) -> None:
        extents[:, :, heat[0].max(0) < 0.5] += 99

    check(altered_case(tiny_bundle, tmp_path, alter))


def test_a_decision_may_not_flip_however_small_the_difference(tiny_bundle: Path) -> None:
    """INT8 that moves a score across the threshold is refused even within its tolerance."""
    score = float(read_bundle(tiny_bundle).golden()[1].expected["map"][0, 0].max())
    with open_engine(EngineChoice(precision="int8"), read_bundle(tiny_bundle)) as engine:
        case = read_bundle(tiny_bundle).golden()[1]
        engine.submit(0, [Sample(case.image, engine.reference(case.master))])
        int8 = float(engine.collect(0)[0]["map"][0, 0].max())
    assert int8 != score
    between = changed(tiny_bundle, thresholds={"spot": (score + int8) / 2, "shade": 0.5})
    with pytest.raises(
        EngineError, match=r"expected a score of 0\.549.* for 'spot', found .* crosses the threshold"
    ):
        check(between)


def test_a_bundle_without_golden_cases_is_refused(tiny_bundle: Path) -> None:
    """Nothing would show that the engine judges rightly."""
    with pytest.raises(EngineError, match="expected golden cases"):
        check(changed(tiny_bundle, golden=()))


def test_a_constant_needs_no_golden_cases(constant_bundle: Callable[..., Path]) -> None:
    """Tests of the line run with it as it is."""
    bundle = read_bundle(constant_bundle())
    check(bundle)
    assert bundle.golden() == []


def test_an_engine_that_answers_nan_is_refused(tiny_bundle: Path, constant_bundle: Callable[..., Path]) -> None:
    """NaN compares as no difference and no defect; it must not pass for agreement."""
    golden = read_bundle(tiny_bundle).golden()
    bundle = read_bundle(constant_bundle(fault="nan"))

    class WithCases(Bundle):
        def golden(self) -> list[Golden]:
            return golden

    with (
        open_engine(EngineChoice(), bundle) as engine,
        pytest.raises(EngineError, match="not a number everywhere"),
    ):
        check_golden(engine, WithCases(folder=bundle.folder, manifest=bundle.manifest, digest=""))


@pytest.mark.parametrize(
    ("found", "expected", "apart"),
    [(0.25, 0.30, 0.05), (0.9, 0.95, 0.05), (1.9, 2.4, 0.1), (2.4, 9.0, 0.0)],
    ids=["below", "near", "partly beyond", "beyond"],
)
def test_scores_far_over_the_threshold_may_differ(
    score_bundle: Path, found: float, expected: float, apart: float
) -> None:
    """From twice the threshold on a part is rejected, however high it scores."""
    manifest = msgspec.structs.replace(read_bundle(score_bundle).manifest, thresholds={"anomaly": 1.0})
    blank = {name: np.zeros(shape, np.float32) for name, shape in manifest.outputs.items()}
    ours, meant = ({**blank, "score": np.array([score], np.float32)} for score in (found, expected))
    assert differences(ours, meant, manifest)["score"] == pytest.approx(apart, abs=1e-6)


def test_differences_are_named_by_output(tiny_bundle: Path) -> None:
    """Each output has its own figure, and so has the score."""
    manifest: Manifest = read_bundle(tiny_bundle).manifest
    outputs = read_bundle(tiny_bundle).golden()[1].expected
    other = {"map": outputs["map"] * 0.5, "extents": outputs["extents"]}
    apart = differences(other, outputs, manifest)
    assert list(apart) == ["map", "extents", "score"]
    assert apart["score"] == pytest.approx(0.2745, abs=1e-3)
    assert apart["extents"] == 0


@pytest.mark.parametrize("kind", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("model", ["score_bundle", "matcher_bundle"])
def test_a_sound_engine_reproduces_models_without_masters(
    request: pytest.FixtureRequest, model: str, kind: str
) -> None:
    """A model that judges by a score, and one that compares embeddings, are proved like any other."""
    bundle = read_bundle(request.getfixturevalue(model))
    with open_engine(EngineChoice(kind=kind), bundle) as engine:
        check_golden(engine, bundle)


@pytest.mark.parametrize(
    ("model", "case", "output", "by", "said"),
    [
        ("score_bundle", "odd", "score", 0.01, r"odd.png on .*: score differs by 0\.01.* more than 0\.0001"),
        ("score_bundle", "usual", "map", 0.02, r"usual.png on .*: map differs by 0\.02"),
        ("matcher_bundle", "other", "embedding", 0.03, r"other.png on .*: embedding differs by 0\.03"),
        ("matcher_bundle", "product", "score", 0.04, r"product.png on .*: score differs by 0\.04"),
    ],
)
def test_an_engine_that_scores_otherwise_is_refused(
    request: pytest.FixtureRequest, tmp_path: Path, model: str, case: str, output: str, by: float, said: str
) -> None:
    """Be it in the score, on the map or in the embedding."""
    copy = Path(shutil.copytree(request.getfixturevalue(model), tmp_path / "bundle"))
    bundle = read_bundle(copy)
    (expected,) = (golden.expected for golden in bundle.golden() if case in golden.name)
    expected[output].flat[0] += by
    np.savez(copy / f"golden/{case}.npz", **expected)
    with pytest.raises(EngineError, match=said):
        check(bundle)


@pytest.mark.parametrize(("model", "kind"), [("score_bundle", "anomaly"), ("matcher_bundle", "product")])
def test_a_score_that_falls_on_the_other_side_of_its_threshold_is_refused(
    request: pytest.FixtureRequest, tmp_path: Path, model: str, kind: str
) -> None:
    """However wide the tolerances are, an engine that would decide otherwise is not used."""
    copy = Path(shutil.copytree(request.getfixturevalue(model), tmp_path / "bundle"))
    bundle = changed(copy, tolerances={"fp32": {"map": 9.0, "score": 9.0, "embedding": 9.0}})
    name = bundle.manifest.golden[0].expected.path
    expected = bundle.golden()[0].expected
    expected["score"][0] = bundle.manifest.thresholds[kind]  # which is rejected
    np.savez(copy / name, **expected)
    with pytest.raises(EngineError, match=f"expected a score of .* for {kind!r}.* crosses the threshold"):
        check(bundle)


def test_a_matchers_case_without_a_drawing_is_refused(matcher_bundle: Path) -> None:
    """A score that was compared with nothing shows nothing."""
    bundle = read_bundle(matcher_bundle)
    case = msgspec.structs.replace(bundle.manifest.golden[0], master=None)
    with pytest.raises(EngineError, match="matcher compares with a drawing: received none"):
        check(changed(matcher_bundle, golden=(case,)))


class _Warping:
    """ONNX Runtime as an engine that warps frames; `turned`, it warps them upside down."""

    warps_frames = True

    def __init__(self, engine: Engine, bundle: Bundle, turned: bool) -> None:
        self._engine, self._spec, self._turned = engine, bundle.manifest.input, turned
        self.warped = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)

    def submit(self, lane: int, samples: Sequence[Sample]) -> None:
        self._engine.submit(lane, [self._warped(sample) if sample.warp else sample for sample in samples])

    def _warped(self, sample: Sample) -> Sample:
        self.warped += 1
        assert sample.image.shape == sample.warp.frame
        frame = sample.image[::-1] if self._turned else sample.image
        return Sample(self._spec.tensor(np.ascontiguousarray(frame)), sample.reference)


def test_an_engine_that_warps_frames_wrongly_is_refused(tiny_bundle: Path) -> None:
    """Its network may be sound: what it is shown is not what preprocess would have shown it."""
    bundle = read_bundle(tiny_bundle)
    with open_engine(EngineChoice(precision="fp32"), bundle) as engine:
        sound = _Warping(engine, bundle, turned=False)
        check_golden(sound, bundle)  # type: ignore[arg-type]
        assert sound.warped == len(bundle.manifest.golden)
        with pytest.raises(
            EngineError,
            match=r"warped by the GPU it gives another map than warped by the CPU: delete the kernels",
        ):
            check_golden(_Warping(engine, bundle, turned=True), bundle)  # type: ignore[arg-type]
