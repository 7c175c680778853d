"""A judge that cuts its crop into tiles finds a defect once, with the same score and box, wherever it lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import STRIDE, altered, calibration

from edge.bundle import read_bundle
from edge.engines import open_engine
from edge.errors import BundleError, EngineError, RecipeError
from edge.judges.arming import armed_engine
from edge.judges.decide import decide
from edge.judges.golden import judge as judge_picture
from edge.judges.judge import Judge, areas_of, read_judges, rules_of
from edge.recipe import EngineChoice, JudgeChoice, Preprocess, Recipe, Synthetic

#: What the tiny model of good parts finds usual.
GREY = 102
WIDTH, HEIGHT = 160, 112  # of 3x2 tiles of 64x64


def line(bundle: Path, **more: Any) -> Recipe:
    choice = JudgeChoice(name="one", bundle=str(bundle), **more)
    source = Synthetic(width=WIDTH, height=HEIGHT)
    return Recipe(line="l", judge=(choice,), source=source, preprocess=Preprocess(min_contrast=0))


def tiled(bundle: Path, **more: Any) -> Judge:
    thresholds = dict.fromkeys(read_bundle(bundle).manifest.kinds, 0.005)
    (judge,) = read_judges(line(bundle, tiles=(3, 2), thresholds=thresholds, **more))
    return judge


def test_a_defect_that_moves_over_a_seam_is_found_once_and_alike(score_bundle: Path) -> None:
    """Tiles overlap from x = 48 to 64 and from 96 to 112; the region moves with the spot, the score stays."""
    judge = tiled(score_bundle)
    preparer, rule = judge.preparer(), judge.rule
    with open_engine(EngineChoice(), judge.bundle) as engine:
        for x, y in [(4, 8), *((x, 52) for x in range(36, 72, 4)), *((100, y) for y in range(36, 72, 4))]:
            frame = np.full((HEIGHT, WIDTH), GREY, np.uint8)
            frame[y : y + 8, x : x + 8] = 255
            out = np.empty(judge.manifest.picture.shape, np.uint8)
            to_frame = preparer.prepare(frame, "a", out).to_frame
            found = decide(judge_picture(engine, judge.manifest, out, None), to_frame, rule)
            (region,) = found.regions
            assert (region.x, region.y, region.w, region.h) == (x, y, 8, 8)
            assert found.verdict == "reject"
            assert found.score == pytest.approx(4 * 0.6 / 256, abs=1e-5)


def test_what_a_part_needs_grows_with_its_tiles(score_bundle: Path, tiny_bundle: Path) -> None:
    """The whole picture and the joined outputs lie in the slot; masters are as large as the picture."""
    judge = tiled(score_bundle)
    assert areas_of([judge])["tensors"] == [WIDTH * HEIGHT]
    # The map begins at the next multiple of 256 bytes after the score.
    assert areas_of([judge])["outputs"] == [256 + 4 * WIDTH * HEIGHT // STRIDE**2]
    assert rules_of((judge,), None).outputs == ({"score": (1,), "map": (1, 1, HEIGHT // 4, WIDTH // 4)},)
    compared = tiled(tiny_bundle)
    assert compared.manifest.picture.shape == (1, 1, HEIGHT, WIDTH)
    assert compared.warper().shape == (1, 1, HEIGHT, WIDTH)


def test_a_line_takes_the_tiles_of_the_bundle(score_bundle: Path, tmp_path: Path) -> None:
    """With its calibration; other tiles have no calibration, and need thresholds of their own."""
    scores = np.linspace(0.05, 0.12, 39).tolist()
    known = read_bundle(score_bundle).manifest
    bundle = altered(score_bundle, tmp_path / "tiled", tiles=(2, 2), calibration=calibration(scores))
    (judge,) = read_judges(line(bundle))
    assert judge.manifest.tiles == (2, 2)
    assert judge.rule.calibration is not None
    (same,) = read_judges(line(bundle, tiles=(2, 2)))
    assert same.rule.calibration is not None
    with pytest.raises(RecipeError) as error:
        read_judges(line(bundle, tiles=(3, 1)))
    assert str(error.value) == (
        f'[[judge]] "one" tiles: [3, 1]: {known.name} was calibrated with tiles [2, 2], and others give other '
        "scores: write thresholds for anomaly too, or delete the key"
    )
    (other,) = read_judges(line(bundle, tiles=(3, 1), thresholds={"anomaly": 0.3}))
    assert other.manifest.tiles == (3, 1)
    assert other.rule.calibration is None


WRONG = {
    "larger than the crop": (
        "score_bundle",
        (4, 2),
        "[4, 2]: of 64x64 pixels each are 208x112 in all, larger than this judge's crop, 160x112: write fewer",
    ),
    "too many": ("score_bundle", (65, 1), "[65, 1]: expected at most 64 tiles in all: write fewer"),
    "of a matcher": ("matcher_bundle", (2, 1), "[2, 1]: matcher compares whole pictures with drawings"),
}


@pytest.mark.parametrize("case", WRONG)
def test_tiles_that_cannot_be_meant_are_refused(request: pytest.FixtureRequest, case: str) -> None:
    """The error names the key and says what to do."""
    name, tiles, said = WRONG[case]
    bundle = request.getfixturevalue(name)
    thresholds = dict.fromkeys(read_bundle(bundle).manifest.kinds, 0.3)
    with pytest.raises(RecipeError) as error:
        read_judges(line(bundle, tiles=tiles, thresholds=thresholds))
    assert str(error.value).startswith(f'[[judge]] "one" tiles: {said}')


def test_a_part_of_more_tiles_than_the_engine_takes_is_said_before_the_line_is_armed(
    score_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an engine that was built for smaller batches."""
    bundle = read_bundle(score_bundle)
    monkeypatch.setattr("edge.engines.base.OnCpu.most_samples", 5)
    with armed_engine(EngineChoice(), bundle, 5):
        pass
    with (
        pytest.raises(
            EngineError, match=r"a part has 6 tiles, and \w+ takes 5 at once: run trt-build build --batch 6"
        ),
        armed_engine(EngineChoice(), bundle, 6),
    ):
        pass


def test_a_bundle_with_tiles_that_do_not_fit_is_refused(score_bundle: Path, tmp_path: Path) -> None:
    """More than a part can have."""
    folder = altered(score_bundle, tmp_path / "many", tiles=(9, 9))
    with pytest.raises(BundleError, match=r"tiles: expected at most 64 .*, found \[9, 9\]"):
        read_bundle(folder)
