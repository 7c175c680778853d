"""A comparator's thresholds come from pairs kept from training, and promise no more than they keep."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from bundles import board

from edge.bundle import read_model
from edge.engines import open_engine
from edge.judges.decide import Rule, decide
from edge.judges.golden import judge
from edge.recipe import EngineChoice
from trt_build.data.errors import DatasetError
from trt_build.data.pairs import Pair, read_pairs, split
from trt_build.figures.boards import TITLE_PX
from trt_build.methods.base import EvaluateOptions
from trt_build.methods.comparator.calibrate import measure_of, set_thresholds
from trt_build.methods.comparator.method import METHOD as boards
from trt_build.packing.fit import fit_of
from trt_build.packing.threshold import CalibrationOptions


def good_pair(seed: int) -> Pair:
    """A board without defects that differs from its master by some noise."""
    master = board(seed)
    noise = np.random.default_rng(seed).integers(0, 3 + seed, master.shape)
    tested = (master + noise).clip(0, 255).astype(np.uint8)
    empty = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    return Pair(name=f"good-{seed}", master=master, board=tested, boxes=empty[0], kinds=empty[1])


@pytest.fixture(scope="module")
def with_good(
    pcb_draft: Path, pcb_pairs: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Pair]]:
    """A draft calibrated on pairs with defects and on thirty without; the good ones."""
    draft = Path(shutil.copytree(pcb_draft, tmp_path_factory.mktemp("good") / "draft"))
    good = [good_pair(seed) for seed in range(30)]
    set_thresholds(draft, [*read_pairs(pcb_pairs), *good], CalibrationOptions(rate=0.2))
    return draft, good


def test_thresholds_are_those_of_the_pairs(calibrated_pcb: Path) -> None:
    """The kind that was seen has the threshold that finds all of it; the others keep even odds."""
    thresholds = read_model(calibrated_pcb).manifest.thresholds
    assert thresholds["open"] == pytest.approx(77 / 255, abs=0.01)
    assert thresholds["spur"] == 0.5


def test_figures_of_held_out_pairs_travel_with_the_model(calibrated_pcb: Path) -> None:
    """Who has only the bundle still knows how good it was on boards it had not seen."""
    metadata = read_model(calibrated_pcb).manifest.metadata
    assert metadata["held_out"]["ap33_open"] == pytest.approx(100)


def test_thresholds_come_from_pairs_kept_from_training_alone(
    pcb_draft: Path, pcb_pairs: Path, copy: Callable[[Path], Path], tmp_path: Path
) -> None:
    """Calibrating with a folder and with its held-out pairs is the same."""
    _, kept = split(read_pairs(pcb_pairs))
    assert 0 < len(kept) < 10
    draft = copy(pcb_draft)
    boards.calibrate(draft, pcb_pairs, CalibrationOptions())
    other = Path(shutil.copytree(pcb_draft, tmp_path / "other"))
    set_thresholds(other, kept, CalibrationOptions(), fit_of(read_pairs(pcb_pairs)))
    assert (draft / "manifest.json").read_bytes() == (other / "manifest.json").read_bytes()


def test_int8_is_shown_what_was_trained_with_and_tolerances_what_was_not(
    pcb_draft: Path, pcb_pairs: Path
) -> None:
    """No pair does both."""
    spec = read_model(pcb_draft).manifest.input
    shown = {case.name for case in boards.calibration_pictures(pcb_pairs, spec)}
    kept = {case.name for case in boards.held_out(pcb_pairs, spec)}
    assert shown | kept == {pair.name for pair in read_pairs(pcb_pairs)}
    assert not shown & kept


def test_too_few_pairs_leave_the_draft_as_it_was(
    pcb_draft: Path, pcb_pairs: Path, copy: Callable[[Path], Path], tmp_path: Path
) -> None:
    """Thresholds are not chosen on what the model was trained with."""
    few = tmp_path / "few"
    few.mkdir()
    for end in ("_temp.png", "_test.png", ".txt"):
        shutil.copyfile(pcb_pairs / f"00{end}", few / f"00{end}")
    draft = copy(pcb_draft)
    before = (draft / "manifest.json").read_bytes()
    with pytest.raises(DatasetError, match="none was kept from training: give more, about 50"):
        boards.calibrate(draft, few, CalibrationOptions())
    assert (draft / "manifest.json").read_bytes() == before


def test_without_enough_good_boards_there_are_no_p_values(calibrated_pcb: Path) -> None:
    """A rank among a handful of boards would say nothing."""
    assert read_model(calibrated_pcb).manifest.calibration is None


def test_good_boards_give_the_p_values_of_the_line(with_good: tuple[Path, list[Pair]]) -> None:
    """A board's rank among good ones is what `decide` finds by the same scores, on the engine that judges."""
    draft, good = with_good
    bundle = read_model(draft)
    manifest, said = bundle.manifest, bundle.manifest.calibration
    assert said is not None
    rule = Rule(
        name="model",
        bundle=bundle.digest,
        thresholds=manifest.thresholds,
        stride=manifest.stride,
        calibration=np.array(said.scores),
    )
    found = []
    with open_engine(EngineChoice(), bundle) as engine:
        for pair in good:
            tensor = manifest.input.tensor
            outputs = judge(engine, manifest, tensor(pair.board), tensor(pair.master))
            found.append(decide(outputs, (1, 0, 0, 0, 1, 0), rule).p_value)
    assert said.engine == "openvino int8"
    assert said.artifact == bundle.digest_of_graph("judge", "int8")
    rarity = [(1 + sum(other >= score for other in said.scores)) / 31 for score in said.scores]
    assert sorted(found) == sorted(rarity)


def test_no_rate_is_promised_that_is_not_kept(with_good: tuple[Path, list[Pair]]) -> None:
    """Thresholds were chosen by boxes, so what is said of good boards names p-values only."""
    said = read_model(with_good[0]).manifest.calibration
    assert said is not None
    assert "promise no rate" in said.note


def test_quality_is_the_mean_precision_of_the_answers(pcb_draft: Path, pcb_pairs: Path) -> None:
    """What `verify` compares is the figure that `evaluate` prints, at the overlap that DeepPCB asks for."""
    bundle = read_model(pcb_draft)
    cases, measure = boards.labelled(pcb_pairs, bundle)
    with open_engine(EngineChoice(), bundle) as engine:
        answers = [judge(engine, bundle.manifest, case.image, case.master) for case in cases]
    printed = boards.evaluate(pcb_draft, pcb_pairs, EvaluateOptions()).figures
    assert measure(answers) == pytest.approx(printed["map33"])
    assert measure(answers) > 0

    wider = np.array([0, 0, 5, 0], np.float32)  # a found box is then 0.44 of its union with the true one
    pairs = [replace(pair, boxes=pair.boxes + wider) for pair in read_pairs(pcb_pairs)]
    assert measure_of(pairs, bundle.manifest.kinds)(answers) == pytest.approx(measure(answers))


def test_a_cut_is_chosen_on_pairs_kept_from_training(pcb_draft: Path, pcb_pairs: Path, tmp_path: Path) -> None:
    """Without them it is even odds; pictures of the worst boards show what was missed."""
    plain = boards.evaluate(pcb_draft, pcb_pairs, EvaluateOptions(report=tmp_path / "worst"))
    chosen = boards.evaluate(pcb_draft, pcb_pairs, EvaluateOptions(chosen_on=pcb_pairs))
    assert plain.figures["cut"] == 0.5
    assert chosen.figures["cut"] < 0.5
    assert chosen.figures["recall"] > plain.figures["recall"]
    pictures = list((tmp_path / "worst").glob("*_escaped1_overkill0.png"))
    assert plain.written == (f"{len(pictures)} pictures in {tmp_path / 'worst'}",)
    picture = cv2.imread(str(pictures[0]))
    assert picture.shape[0] == TITLE_PX + 64
    name = pictures[0].name.partition("_")[0]
    master = cv2.imread(str(pcb_pairs / f"{name}_temp.png"))
    assert np.array_equal(picture[TITLE_PX:, :64], master)
