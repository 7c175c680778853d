"""The recipe's judges with their bundles: what each looks at, when it rejects, and what cannot be meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bundles import altered, board, calibration

from edge.errors import BundleError, PartError, RecipeError
from edge.judges.judge import digest_of, read_judges
from edge.recipe import Fusion, JudgeChoice, Preprocess, Recipe, Rule, Synthetic

GOOD = np.linspace(0.05, 0.12, 39).tolist()  # scores of good parts


def line(*judges: JudgeChoice, **more: Any) -> Recipe:
    return Recipe(line="l", judge=judges, source=Synthetic(width=96, height=80), **more)


def choice(name: str, bundle: Path, **more: Any) -> JudgeChoice:
    return JudgeChoice(name=name, bundle=str(bundle), **more)


@pytest.fixture
def calibrated(score_bundle: Path, tmp_path: Path) -> Path:
    return altered(score_bundle, tmp_path / "calibrated", calibration=calibration(GOOD))


def test_every_judge_comes_with_its_bundle_and_rule(tiny_bundle: Path, calibrated: Path) -> None:
    """In the recipe's order; thresholds are the bundle's, except those that the recipe gives."""
    recipe = line(
        choice("defects", tiny_bundle, thresholds={"shade": 0.25}),
        choice("odd", calibrated),
        rule=Rule(min_area_px=30, regions="masks"),
    )
    defects, odd = read_judges(recipe)
    assert (defects.rule.name, odd.rule.name) == ("defects", "odd")
    assert defects.rule.thresholds == {"spot": 0.5, "shade": 0.25}
    assert defects.rule.calibrated_at == {"spot": 0.5, "shade": 0.5}
    assert list(defects.rule.thresholds) == list(defects.bundle.manifest.kinds)
    assert odd.rule.thresholds == {"anomaly": 0.145}
    assert (odd.rule.region_from, odd.rule.stride) == (0.3, 4)
    assert defects.rule.calibration is None
    assert odd.rule.calibration is not None
    assert odd.rule.calibration.tolist() == GOOD
    assert {judge.rule.min_area_px for judge in (defects, odd)} == {30}
    assert {judge.rule.masks for judge in (defects, odd)} == {True}
    assert [judge.rule.bundle for judge in (defects, odd)] == [defects.bundle.digest, odd.bundle.digest]


def test_one_bundle_is_one_judge(tiny_bundle: Path) -> None:
    """A recipe that names its model under `bundle` has the thresholds of [rule]."""
    recipe = Recipe(
        line="l",
        bundle=str(tiny_bundle),
        source=Synthetic(width=64, height=64),
        rule=Rule(thresholds={"spot": 0.3}),
    )
    (judge,) = read_judges(recipe)
    assert judge.rule.thresholds == {"spot": 0.3, "shade": 0.5}


def test_what_judges_is_told_by_one_digest(tiny_bundle: Path, calibrated: Path) -> None:
    """Of one bundle its own; of several another, that changes with each bundle and their order."""
    defects, odd = (choice("defects", tiny_bundle), choice("odd", calibrated))
    (alone,) = read_judges(line(defects))
    assert digest_of((alone,)) == alone.bundle.digest
    digests = {
        digest_of(read_judges(line(*judges))) for judges in ([defects], [odd], [defects, odd], [odd, defects])
    }
    assert len(digests) == 4
    assert {len(digest) for digest in digests} == {64}


def test_each_judge_has_its_own_crop(score_bundle: Path) -> None:
    """Or else that of [preprocess]; what else [preprocess] says holds for all."""
    recipe = line(
        choice("left", score_bundle, crop=(0, 0, 40, 80)),
        choice("usual", score_bundle),
        preprocess=Preprocess(crop=(8, 8, 64, 64), min_contrast=3),
    )
    left, usual = read_judges(recipe)
    assert left.preprocess == Preprocess(crop=(0, 0, 40, 80), min_contrast=3)
    assert usual.preprocess == recipe.preprocess


def test_a_judges_input_is_its_crop_of_the_frame(score_bundle: Path) -> None:
    """Two judges with different crops look at different places of one frame."""
    recipe = line(
        choice("left", score_bundle, crop=(0, 16, 64, 64)), choice("right", score_bundle, crop=(32, 16, 64, 64))
    )
    frame = np.random.default_rng(0).integers(0, 255, (80, 96)).astype(np.uint8)
    for judge, x in zip(read_judges(recipe), (0, 32), strict=True):
        out = np.empty((1, 1, 64, 64), np.uint8)
        prepared = judge.preparer().prepare(frame, "a", out)
        assert np.array_equal(out[0, 0], frame[16:, x : x + 64])
        assert prepared.to_frame == pytest.approx((1, 0, x, 0, 1, 16))


def test_each_comparator_has_its_own_masters(tiny_bundle: Path, tmp_path: Path) -> None:
    """One those of its bundle, another those that the recipe names for it, prepared with its own crop."""
    picture = np.zeros((80, 96), np.uint8)
    picture[8:72, 16:80] = board(5)
    cv2.imwrite(str(tmp_path / "c.png"), picture)
    recipe = line(
        choice("own", tiny_bundle),
        choice("new", tiny_bundle, masters=f"{tmp_path}/{{view}}.png", crop=(16, 8, 64, 64)),
    )
    own, new = read_judges(recipe)
    assert (own.views(), new.views()) == (["a", "b"], ["c"])
    masters = new.masters()
    assert masters is not None
    assert np.array_equal(masters.get("c").input[0, 0], board(5))
    with pytest.raises(PartError, match="no master for view 'a'"):
        masters.get("a")


def test_a_master_that_does_not_fit_is_said_before_the_first_part(tiny_bundle: Path, tmp_path: Path) -> None:
    """Of whichever judge it is."""
    cv2.imwrite(str(tmp_path / "a.png"), board(0))
    recipe = line(choice("defects", tiny_bundle, masters=f"{tmp_path}/{{view}}.png"))
    (judge,) = read_judges(recipe)
    with pytest.raises(RecipeError, match=r"a\.png: expected a master of 96x80 gray, .* found 64x64 gray"):
        judge.preparer()


@pytest.mark.parametrize("model", ["score_bundle", "matcher_bundle"])
def test_a_model_that_compares_with_no_master_has_none(request: pytest.FixtureRequest, model: str) -> None:
    """And is not asked for one by any view."""
    recipe = line(choice("model", request.getfixturevalue(model)))
    (judge,) = read_judges(recipe)
    assert judge.masters() is None
    frame, out = np.tile(np.arange(96, dtype=np.uint8), (80, 1)), np.empty((1, 1, 64, 64), np.uint8)
    judge.preparer().prepare(frame, "no such view", out)


def test_drawings_are_read_as_the_matcher_takes_them(matcher_bundle: Path, tmp_path: Path) -> None:
    """Of any size, grey or in colours, also one that is nearly empty; in the order of their names."""
    cv2.imwrite(
        str(tmp_path / "b-large.png"), cv2.resize(board(0), (192, 192), interpolation=cv2.INTER_NEAREST)
    )
    cv2.imwrite(str(tmp_path / "c-colour.png"), cv2.cvtColor(board(1), cv2.COLOR_GRAY2BGR))
    cv2.imwrite(str(tmp_path / "a-faint.png"), np.full((64, 64), 250, np.uint8))
    (tmp_path / "notes.txt").write_text("not asked for")
    recipe = line(choice("product", matcher_bundle, drawings=f"{tmp_path}/*.png"))
    (judge,) = read_judges(recipe)
    faint, large, colour = judge.drawings()
    assert {drawing.shape for drawing in (faint, large, colour)} == {(1, 1, 64, 64)}
    assert (faint == 250).all()
    assert np.abs(large[0, 0].astype(int) - board(0)).max() <= 1
    assert np.abs(colour[0, 0].astype(int) - board(1)).max() <= 1


def test_a_drawing_on_a_transparent_ground_is_one_on_white_paper(matcher_bundle: Path, tmp_path: Path) -> None:
    """Whatever colour the drawing program left in pixels that do not show."""
    drawing = np.zeros((64, 64, 4), np.uint8)
    drawing[20:30, :, 3] = 255
    cv2.imwrite(str(tmp_path / "side.png"), drawing)
    recipe = line(choice("product", matcher_bundle, drawings=f"{tmp_path}/*.png"))
    (judge,) = read_judges(recipe)
    (found,) = judge.drawings()
    assert (found[0, 0, 20:30] == 0).all()
    assert (np.delete(found[0, 0], np.s_[20:30], 0) == 255).all()


@pytest.mark.parametrize("drawings", ["", "nothing/*.png"])
def test_a_matcher_without_drawings_is_told_so(matcher_bundle: Path, drawings: str) -> None:
    """A matcher that knew no product would reject all parts, or none."""
    recipe = line(choice("product", matcher_bundle, drawings=drawings))
    (judge,) = read_judges(recipe)
    with pytest.raises(RecipeError) as error:
        judge.drawings()
    assert str(error.value).startswith(f'[[judge]] "product" drawings: {drawings!r} names no file')


@pytest.mark.parametrize("what", ["text", "empty", "a folder", "16 bits"])
def test_a_drawing_that_is_no_such_picture_is_named(matcher_bundle: Path, tmp_path: Path, what: str) -> None:
    """The error names the file and how to save it."""
    path = tmp_path / "side.png"
    if what == "a folder":
        path.mkdir()
    elif what in ("text", "empty"):
        path.write_text("no picture" * (what == "text"))
    else:
        cv2.imwrite(str(path), board(0).astype(np.uint16))
    recipe = line(choice("product", matcher_bundle, drawings=f"{tmp_path}/*.png"))
    (judge,) = read_judges(recipe)
    with pytest.raises(RecipeError, match=r"side\.png: (expected a picture|expected 8 bits|cannot be read)"):
        judge.drawings()


@pytest.mark.parametrize(
    ("model", "key", "method", "takes"),
    [
        ("tiny_bundle", "drawings", "comparator", "matcher"),
        ("matcher_bundle", "masters", "matcher", "comparator"),
        ("score_bundle", "masters", "stpm", "comparator"),
        ("score_bundle", "drawings", "stpm", "matcher"),
    ],
)
@pytest.mark.parametrize("several", [True, False])
def test_pictures_that_a_model_does_not_look_at_are_refused(
    request: pytest.FixtureRequest, model: str, key: str, method: str, takes: str, several: bool
) -> None:
    """Nobody believes that parts are held against drawings that are never read."""
    bundle = request.getfixturevalue(model)
    recipe = line(choice("odd", bundle, **{key: "somewhere/*.png"}))
    if not several:
        recipe = Recipe(line="l", bundle=str(bundle), source=recipe.source, **{key: "somewhere/*.png"})
    with pytest.raises(RecipeError) as error:
        read_judges(recipe)
    where = f'[[judge]] "odd" {key}' if several else key
    assert str(error.value).startswith(f"{where}: only a {takes} compares parts with {key}, and ")
    assert str(error.value).endswith(f"{method!r}: delete the key, or name a {takes}'s bundle")


def test_a_bundle_that_is_not_there_is_named(score_bundle: Path, tmp_path: Path) -> None:
    """Of several judges, the one whose bundle is missing."""
    with pytest.raises(BundleError, match=r"nowhere/manifest\.json"):
        read_judges(line(choice("odd", score_bundle), choice("lost", tmp_path / "nowhere")))


@pytest.mark.parametrize(
    ("thresholds", "said"),
    [
        ({"spot": 50}, " spot: expected a number from 0 to 1, found 50"),
        ({"spot": -0.1}, " spot: expected a number from 0 to 1, found -0.1"),
        ({"spot": float("nan")}, " spot: expected a number from 0 to 1, found nan"),
        ({"scratch": 0.5}, ": the bundle has no kind 'scratch'; its kinds are spot, shade"),
    ],
    ids=["in per cent", "negative", "no number", "of an unknown kind"],
)
def test_a_comparators_threshold_that_cannot_be_meant_is_refused(
    tiny_bundle: Path, thresholds: dict[str, float], said: str
) -> None:
    """A heat lies between 0 and 1, so a threshold beyond it would reject nothing, or everything."""
    with pytest.raises(RecipeError) as error:
        read_judges(line(choice("defects", tiny_bundle, thresholds=thresholds)))
    assert str(error.value) == f'[[judge]] "defects" thresholds{said}'


def test_a_comparators_bundle_with_such_a_threshold_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    """Also where it was packed so."""
    bundle = altered(tiny_bundle, tmp_path / "bundle", thresholds={"spot": 1.5, "shade": 0.5})
    with pytest.raises(RecipeError, match=r"spot: expected a number from 0 to 1, found 1\.5"):
        read_judges(line(choice("defects", bundle)))


def test_a_score_may_have_any_threshold_that_is_a_number(score_bundle: Path) -> None:
    """A distance has no upper end, so 7.5 may be meant; with infinity or NaN nothing would be rejected."""
    (judge,) = read_judges(line(choice("odd", score_bundle, thresholds={"anomaly": 7.5})))
    assert judge.rule.thresholds == {"anomaly": 7.5}
    for threshold in (float("inf"), float("nan")):
        with pytest.raises(RecipeError, match=f"anomaly: expected a finite number, found {threshold}"):
            read_judges(line(choice("odd", score_bundle, thresholds={"anomaly": threshold})))


@pytest.mark.parametrize("how", ["bonferroni", "fisher"])
def test_a_fusion_needs_every_judges_calibration(tiny_bundle: Path, calibrated: Path, how: Any) -> None:
    """A judge without p-values would have no say in it; the error names it and what to run."""
    judges = choice("odd", calibrated), choice("defects", tiny_bundle)
    with pytest.raises(
        RecipeError, match=r"\[fusion\]: judge 'defects' .*without calibration.*trt-build calibrate"
    ):
        read_judges(line(*judges, fusion=Fusion(how=how, false_reject=0.1)))
    assert len(read_judges(line(*judges))) == 2


def test_bonferroni_needs_parts_enough_that_each_judge_can_reject(
    calibrated: Path, score_bundle: Path, tmp_path: Path
) -> None:
    """With 39 good parts the rarest p-value is 1/40, which two judges' share of 5 % allows, and of 4 % not."""
    many = altered(score_bundle, tmp_path / "many", calibration=calibration(np.linspace(0, 1, 500).tolist()))
    judges = choice("many", many), choice("few", calibrated)
    assert len(read_judges(line(*judges, fusion=Fusion(false_reject=0.05)))) == 2
    with pytest.raises(RecipeError) as error:
        read_judges(line(*judges, fusion=Fusion(false_reject=0.04)))
    assert str(error.value) == (
        "[fusion] false_reject: 0.04: judge 'few' was calibrated on 39 parts and could never reject; "
        "with 2 judges it needs 49"
    )


@pytest.mark.parametrize(("count", "rate"), [(9, 0.3), (1499, 0.002)])
def test_as_many_parts_as_are_asked_for_are_enough(
    score_bundle: Path, tmp_path: Path, count: int, rate: float
) -> None:
    """However the computer rounds 3 * 0.1."""
    scores = np.linspace(0, 1, count).tolist()
    bundle = altered(score_bundle, tmp_path / "bundle", calibration=calibration(scores))
    judges = [choice(name, bundle) for name in "abc"]
    assert len(read_judges(line(*judges, fusion=Fusion(false_reject=rate)))) == 3
    fewer = altered(score_bundle, tmp_path / "fewer", calibration=calibration(scores[1:]))
    with pytest.raises(RecipeError, match=f"with 3 judges it needs {count}"):
        read_judges(line(*judges[:2], choice("c", fewer), fusion=Fusion(false_reject=rate)))


def test_fisher_needs_parts_enough_that_all_judges_together_can_reject(
    score_bundle: Path, tmp_path: Path
) -> None:
    """Two judges with nine parts each reach 5.6 % at the rarest; a line asked for 1 % would pass everything."""
    bundle = altered(score_bundle, tmp_path / "bundle", calibration=calibration(np.linspace(0, 1, 9).tolist()))
    judges = choice("a", bundle), choice("b", bundle)
    assert len(read_judges(line(*judges, fusion=Fusion(how="fisher", false_reject=0.06)))) == 2
    with pytest.raises(
        RecipeError, match=r"\[fusion\] false_reject: 0\.01: .* on 9, 9 parts and could never reject"
    ):
        read_judges(line(*judges, fusion=Fusion(how="fisher", false_reject=0.01)))
