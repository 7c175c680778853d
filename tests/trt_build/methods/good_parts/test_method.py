"""Good parts and defective ones through the steps: each picture where it belongs, each figure the right one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from drafts import SIZE, part, write_parts

from edge.bundle import Bundle, read_model
from edge.engines import open_engine
from edge.engines.base import Sample
from edge.judges.decide import Rule, decide
from edge.recipe import EngineChoice
from trt_build.data.errors import DatasetError
from trt_build.data.parts import mask_of, picture, read_parts, split_good
from trt_build.figures import ranking
from trt_build.figures.parts import evaluate, read_test_parts
from trt_build.methods.base import EvaluateOptions
from trt_build.methods.good_parts.method import CALIBRATION_PICTURES
from trt_build.methods.stpm.method import METHOD as parts
from trt_build.packing.calibrate import CalibrationError
from trt_build.packing.threshold import CalibrationOptions

Answers = dict[str, dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def calibrated(calibrated_anomaly: Path) -> Bundle:
    return read_model(calibrated_anomaly)


@pytest.fixture(scope="module")
def answers(calibrated: Bundle, part_folder: Path) -> Answers:
    """What the engine itself says of each test part, by the part's name."""
    found = {}
    with open_engine(EngineChoice(), calibrated) as engine:
        for one in read_parts(part_folder).test:
            engine.submit(0, [Sample(picture(one, calibrated.manifest.input))])
            found[one.name] = {name: np.array(output) for name, output in engine.collect(0)[0].items()}
    return found


def names(cases: object) -> set[str]:
    return {case.name.replace("-", "/") for case in cases}  # type: ignore[attr-defined]


def test_no_picture_does_two_things(calibrated: Bundle, part_folder: Path) -> None:
    """INT8 is shown parts that were trained with; what tolerances are measured on was not."""
    spec = calibrated.manifest.input
    good = split_good(read_parts(part_folder).train)
    shown = names(parts.calibration_pictures(part_folder, spec))
    kept = names(parts.held_out(part_folder, spec))
    assert shown <= {one.name for one in good.fit}
    assert len(shown) == min(len(good.fit), CALIBRATION_PICTURES)
    assert {name for name in kept if name.startswith("good")} <= {one.name for one in good.calibration}
    assert {name for name in kept if name.startswith("spot")} == {f"spot/{i:03}" for i in range(10)}


def test_the_threshold_is_set_by_all_parts_kept_for_it_and_no_other(
    calibrated: Bundle, part_folder: Path
) -> None:
    """As many scores as parts, each of one of them, whatever order they are in."""
    spec = calibrated.manifest.input
    kept = split_good(read_parts(part_folder).train).calibration
    assert calibrated.manifest.calibration is not None
    with open_engine(EngineChoice(), calibrated) as engine:
        found = []
        for one in kept:
            engine.submit(0, [Sample(picture(one, spec))])
            found.append(float(engine.collect(0)[0]["score"][0]))
    assert list(calibrated.manifest.calibration.scores) == sorted(found)


def test_pictures_of_other_sizes_are_resampled(anomaly_draft: Path, tmp_path: Path) -> None:
    """Parts that were trained with in mixed sizes are calibrated and judged so."""
    folder, draft = write_parts(tmp_path / "parts", good=3, bad=2), tmp_path / "draft"
    for i in range(5):
        larger = cv2.resize(part(i), (3 * SIZE, 2 * SIZE), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"train/good/{i:03}.png"), larger)
    shutil.copytree(anomaly_draft, draft)
    said = parts.calibrate(draft, folder, CalibrationOptions(rate=0.2))
    found = evaluate(read_model(draft), folder, EngineChoice())
    assert said.n == len(split_good(read_parts(folder, mixed_sizes=True).train).calibration)
    assert len(found.judged) == 5


@pytest.mark.parametrize(
    ("trained", "options", "says"),
    [
        (
            30,
            CalibrationOptions(),
            r"of 30 good .* --rate 0\.05 --how conformal needs 19 .*150 good parts in all",
        ),
        (
            140,
            CalibrationOptions(how="conditional"),
            r"of 140 good .* --how conditional needs 59 .* about 390 ",
        ),
        (140, CalibrationOptions(how="extrapolated", rate=0.01), r"--how extrapolated needs 600 of them"),
    ],
    ids=["conformal", "conditional", "extrapolated"],
)
def test_too_few_good_parts_leave_the_draft_as_it_was(
    anomaly_draft: Path,
    copy: Callable[[Path], Path],
    tmp_path: Path,
    trained: int,
    options: CalibrationOptions,
    says: str,
) -> None:
    """No threshold is set without a promise; the error says what there is and how many good parts would do."""
    draft = copy(anomaly_draft)
    before = (draft / "manifest.json").read_bytes()
    folder = write_parts(tmp_path / "few", trained=trained, good=0, bad=0)
    with pytest.raises(DatasetError, match=says):
        parts.calibrate(draft, folder, options)
    assert (draft / "manifest.json").read_bytes() == before


def test_few_good_parts_set_the_threshold_of_a_rate_that_they_can_keep(
    anomaly_draft: Path, copy: Callable[[Path], Path], tmp_path: Path
) -> None:
    """The error's own figure is a rate that is accepted, and no lower one is."""
    draft, folder = copy(anomaly_draft), write_parts(tmp_path / "few", trained=30, good=0, bad=0)
    kept = len(split_good(read_parts(folder).train).calibration)
    assert parts.calibrate(draft, folder, CalibrationOptions(rate=1 / (kept + 1))).n == kept
    with pytest.raises(DatasetError, match=rf"needs {kept + 1} of them"):
        parts.calibrate(draft, folder, CalibrationOptions(rate=1 / (kept + 2)))


@pytest.mark.parametrize("options", [CalibrationOptions(rate=0), CalibrationOptions(confidence=1)])
def test_a_share_that_is_none_is_refused(
    anomaly_draft: Path, part_folder: Path, options: CalibrationOptions
) -> None:
    """Before a part is judged."""
    with pytest.raises(CalibrationError, match="expected a share between 0 and 1"):
        parts.calibrate(anomaly_draft, part_folder, options)


@pytest.mark.parametrize(
    ("good", "bad", "says"), [(0, 2, "0 good and 2 defective"), (2, 0, "2 good and 0 defective")]
)
def test_engines_are_compared_on_both_sorts_of_test_parts(
    calibrated: Bundle, tmp_path: Path, good: int, bad: int, says: str
) -> None:
    """Nothing is told apart where there is only one sort, and no AUROC is made up."""
    folder = write_parts(tmp_path, trained=1, good=good, bad=bad)
    for step in (lambda: parts.labelled(folder, calibrated), lambda: read_test_parts(folder)):
        with pytest.raises(DatasetError, match=f"expected good and defective parts, found {says}"):
            step()


@pytest.mark.parametrize(
    ("good", "bad", "figure", "says"),
    [(12, 0, "overkill", "all test parts are good"), (0, 10, "escape", "all test parts are defective")],
    ids=["good alone", "defective alone"],
)
def test_one_sort_of_test_parts_has_the_figure_of_its_sort(
    calibrated: Bundle, part_folder: Path, tmp_path: Path, good: int, bad: int, figure: str, says: str
) -> None:
    """The same as beside the other sort; the evaluation and the report say no more."""
    pytest.importorskip("matplotlib", reason="needs matplotlib, which draws reports")
    folder = write_parts(tmp_path / "parts", trained=1, good=good, bad=bad)
    found = parts.evaluate(calibrated.folder, folder, EvaluateOptions(report=tmp_path / "report"))
    both = evaluate(calibrated, part_folder, EngineChoice()).figures
    assert found.figures == {figure: both[figure]}
    assert found.written[0].startswith(says)
    page = (tmp_path / "report/report.html").read_text()
    assert f"<code>{figure}</code>" in page
    assert not any(f"<code>{other}</code>" in page for other in both if other != figure)


def test_without_any_test_part_there_is_no_figure(calibrated: Bundle, tmp_path: Path) -> None:
    """The error says where to put pictures."""
    folder = write_parts(tmp_path, trained=1, good=0, bad=0)
    with pytest.raises(
        DatasetError, match=r"found 0 good and 0 defective.*put pictures of either into test/good"
    ):
        evaluate(calibrated, folder, EngineChoice())


def test_the_figures_are_those_of_the_scores_and_maps(
    calibrated: Bundle, answers: Answers, part_folder: Path
) -> None:
    """Whoever computes them from the engine's own answers gets the same."""
    test = read_parts(part_folder).test
    good = np.array([answers[one.name]["score"][0] for one in test if one.is_good])
    bad = np.array([answers[one.name]["score"][0] for one in test if not one.is_good])
    maps = [ranking.resize_map(answers[one.name]["map"][0], (SIZE, SIZE)) for one in test]
    masks = [mask_of(one, (SIZE, SIZE)) for one in test]
    pixels = ranking.sweep_pixels(maps, masks)
    threshold = np.float32(calibrated.manifest.thresholds["anomaly"])

    found = evaluate(calibrated, part_folder, EngineChoice()).figures
    assert found == {
        "image_auroc": pytest.approx(ranking.image_auroc(good, bad)),
        "image_f1_max": pytest.approx(ranking.sweep(good, bad).f1_max[0]),
        "pixel_auroc": pytest.approx(pixels.auroc),
        "pixel_ap": pytest.approx(pixels.ap),
        "aupro30": pytest.approx(pixels.aupro(0.3)),
        "aupro05": pytest.approx(pixels.aupro(0.05)),
        "escape": (bad < threshold).mean(),
        "overkill": (good >= threshold).mean(),
    }
    assert 0.5 < found["image_auroc"] < 1
    assert 0 < found["escape"] < 1
    assert 0 < found["overkill"] < 0.5


def test_verification_measures_the_same_auroc(calibrated: Bundle, answers: Answers, part_folder: Path) -> None:
    """In points, of the answers in the order of the cases."""
    cases, measure = parts.labelled(part_folder, calibrated)
    in_order = [answers[case.name.replace("-", "/")] for case in cases]
    found = evaluate(calibrated, part_folder, EngineChoice()).figures["image_auroc"]
    assert measure(in_order) == pytest.approx(100 * found)


def predicted(bundle: Bundle, folder: Path, tmp_path: Path) -> dict[str, bool]:
    """What `evaluate --verdicts` writes, by the part's name."""
    path = tmp_path / "verdicts.jsonl"
    parts.evaluate(bundle.folder, folder, EvaluateOptions(verdicts=path))
    return {line["part"]: line["reject"] for line in map(json.loads, path.read_text().splitlines())}


def test_predicted_verdicts_are_those_of_the_line(
    calibrated: Bundle, answers: Answers, part_folder: Path, tmp_path: Path
) -> None:
    """Each part once, also the one whose score is the least that is rejected, and one just under that."""
    ranked = sorted(float(outputs["score"][0]) for outputs in answers.values())
    for threshold in (
        calibrated.manifest.thresholds["anomaly"],
        ranked[8],
        np.nextafter(np.float32(ranked[8]), 9),
    ):
        bundle = with_threshold(calibrated, float(threshold), tmp_path / f"{float(threshold)!r}")
        manifest = bundle.manifest
        rule = Rule(name="model", bundle=bundle.digest, thresholds=manifest.thresholds, stride=manifest.stride)
        on_the_line = {
            name: decide(outputs, (1, 0, 0, 0, 1, 0), rule).verdict == "reject"
            for name, outputs in answers.items()
        }
        assert predicted(bundle, part_folder, tmp_path) == on_the_line
        assert 0 < sum(on_the_line.values()) < len(on_the_line)


def with_threshold(bundle: Bundle, threshold: float, folder: Path) -> Bundle:
    shutil.copytree(bundle.folder, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["thresholds"]["anomaly"] = threshold
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return read_model(folder)


def test_a_report_shows_figures_pictures_and_training(
    calibrated: Bundle, part_folder: Path, tmp_path: Path
) -> None:
    """One HTML file, of this bundle, with the promise of its threshold and the curves of its training."""
    pytest.importorskip("matplotlib", reason="needs matplotlib, which only building models uses")
    pytest.importorskip("torch", reason="needs torch, which only building models uses")
    run = tmp_path / "run"
    run.mkdir()
    (run / "progress.jsonl").write_text('{"epoch": 1, "loss": 2.0}\n{"epoch": 2, "loss": 1.0}\n')
    options = EvaluateOptions(report=tmp_path / "report", run=run)
    found = parts.evaluate(calibrated.folder, part_folder, options)
    page = (tmp_path / "report/report.html").read_text()
    assert found.written == (f"report in {tmp_path / 'report/report.html'}",)
    assert calibrated.manifest.calibration is not None
    for said in (
        "anomaly: stpm",
        calibrated.manifest.calibration.note,
        f"{found.figures['aupro30']:.4f}",
        f"{found.figures['image_auroc']:.4f}",
        'alt="training"',
        'alt="escapes-1"',
    ):
        assert said in page


def test_a_folder_that_is_no_trainings_is_refused(
    calibrated: Bundle, part_folder: Path, tmp_path: Path
) -> None:
    """Before the parts are judged; the error says what is missing."""
    pytest.importorskip("torch", reason="needs torch, which only building models uses")
    with pytest.raises(DatasetError, match=r"expected the folder of a training, with progress\.jsonl"):
        parts.evaluate(calibrated.folder, part_folder, EvaluateOptions(report=tmp_path, run=tmp_path))
