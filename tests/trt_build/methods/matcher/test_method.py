"""A photo is nearer to its own drawings than to another's; by how much, products kept from training say."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drafts import write_products

from edge.bundle import Bundle, read_model
from edge.engines import open_engine
from edge.engines.base import Engine, Sample
from edge.judges.gallery import Gallery
from edge.judges.golden import scores
from edge.manifest import InputSpec, rejected_below
from edge.recipe import EngineChoice
from trt_build.data.cases import judge_all
from trt_build.data.errors import DatasetError
from trt_build.data.products import DRAWING, PHOTO, Pictures
from trt_build.figures import ranking
from trt_build.methods.base import EvaluateOptions
from trt_build.methods.matcher.evaluate import look_up_all
from trt_build.methods.matcher.method import CALIBRATION_PICTURES
from trt_build.methods.matcher.method import METHOD as products
from trt_build.methods.matcher.split import held_out_pictures, split_pictures
from trt_build.packing.threshold import CalibrationOptions


@pytest.fixture(scope="module")
def calibrated(calibrated_matcher: Path) -> Bundle:
    return read_model(calibrated_matcher)


@pytest.fixture(scope="module")
def kept(calibrated: Bundle, product_folder: Path) -> Pictures:
    """The pictures of the products that were not trained with."""
    return split_pictures(product_folder, calibrated.manifest.input).open


def galleries(engine: Engine, pictures: Pictures) -> list[Gallery]:
    """The drawings of each product, as the line keeps them."""
    drawn = pictures.hand == DRAWING
    return [
        Gallery(engine, pictures.pictures[drawn & (pictures.product == product)][:, np.newaxis])
        for product in np.unique(pictures.product)
    ]


def test_each_photo_is_nearest_to_its_own_product(calibrated: Bundle, product_folder: Path) -> None:
    """The golden cases are a photo with its own drawing, and the same photo with another's."""
    cases = list(products.held_out(product_folder, calibrated.manifest.input))
    found = {
        case.name: float(scores(outputs)[0])
        for case, outputs in zip(cases, judge_all(calibrated, EngineChoice(), cases), strict=True)
    }
    own = [name for name in found if not name.endswith("-other")]
    assert len(own) == len(found) / 2 > 8
    for name in own:
        assert found[name] < found[f"{name}-other"]
    assert all(case.master is not None and len(case.master) == 1 for case in cases)


def test_the_threshold_keeps_its_rate_on_products_not_trained_with(calibrated: Bundle, kept: Pictures) -> None:
    """Of photos of these, held against all drawings of their product as on the line, so many are rejected."""
    said = calibrated.manifest.calibration
    assert said is not None
    found = []
    with open_engine(EngineChoice(), calibrated) as engine:
        of = dict(zip(np.unique(kept.product), galleries(engine, kept), strict=True))
        for photo in np.flatnonzero(kept.hand == PHOTO):
            engine.submit(0, [Sample(kept.pictures[photo : photo + 1])])
            found.append(float(of[kept.product[photo]].score(engine.collect(0)[0])["score"][0]))
    assert list(said.scores) == sorted(found)
    rejected = np.array(found, np.float32) >= np.float32(calibrated.manifest.thresholds["product"])
    assert rejected.sum() == math.floor((len(found) + 1) * 0.2) - 1


@pytest.mark.parametrize("similarity", [None, 0.5], ids=["rate", "similarity"])
def test_int8_that_ranks_otherwise_is_left_out(
    matcher_draft: Path,
    copy: Callable[[Path], Path],
    product_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    similarity: float | None,
) -> None:
    """Whether the threshold comes from good parts or is given: a line must not judge by such a graph."""
    draft = copy(matcher_draft)
    for module in ("methods.matcher.method", "packing.threshold"):
        monkeypatch.setattr(f"trt_build.{module}.order_lost", lambda fp32, int8: "another order")
    assert "int8" in read_model(draft).manifest.precisions()
    products.calibrate(draft, product_folder, CalibrationOptions(rate=0.2, similarity=similarity))
    manifest = read_model(draft).manifest
    assert "int8" not in manifest.precisions()
    assert manifest.thresholds is not None


def test_the_promise_is_of_the_graph_that_judges(calibrated: Bundle) -> None:
    """INT8, named by its digest."""
    said = calibrated.manifest.calibration
    assert said is not None
    assert (said.engine, said.artifact) == ("openvino int8", calibrated.digest_of_graph("judge", "int8"))


def test_int8_is_shown_products_that_were_trained_with(
    calibrated: Bundle, product_folder: Path, kept: Pictures
) -> None:
    """And no more pictures than are wanted, evenly chosen."""
    shown = products.calibration_pictures(product_folder, calibrated.manifest.input)
    held_out = {picture.tobytes() for picture in kept.pictures}
    assert len(shown) == CALIBRATION_PICTURES
    assert not held_out & {case.image.tobytes() for case in shown}


def test_the_figures_are_those_of_the_scores(calibrated: Bundle, kept: Pictures, product_folder: Path) -> None:
    """Every photo once with its product's drawings and once with another product's."""
    own, other = [], []
    with open_engine(EngineChoice(), calibrated) as engine:
        of = galleries(engine, kept)
        for photo in np.flatnonzero(kept.hand == PHOTO):
            at = int(np.searchsorted(np.unique(kept.product), kept.product[photo]))
            engine.submit(0, [Sample(kept.pictures[photo : photo + 1])])
            outputs = engine.collect(0)[0]
            own.append(float(of[at].score(outputs)["score"][0]))
            other.append(float(of[(at + 1) % len(of)].score(outputs)["score"][0]))
    threshold = np.float32(calibrated.manifest.thresholds["product"])
    found = look_up_all(calibrated, product_folder, EngineChoice()).figures(calibrated)
    assert found == {
        "auroc": pytest.approx(ranking.image_auroc(np.array(own), np.array(other))),
        "escape": (np.array(other, np.float32) < threshold).mean(),
        "overkill": (np.array(own, np.float32) >= threshold).mean(),
    }
    assert 0.5 < found["auroc"] <= 1
    assert 0 < found["overkill"] <= 0.2

    cases, measure = products.labelled(product_folder, calibrated)
    assert measure(judge_all(calibrated, EngineChoice(), cases)) == pytest.approx(100 * found["auroc"])


@pytest.mark.parametrize("step", ["calibrate", "kept", "labelled", "evaluate"])
def test_too_few_products_leave_the_draft_as_it_was(
    matcher_draft: Path, copy: Callable[[Path], Path], tmp_path: Path, step: str
) -> None:
    """What another product looks like is not known where none was kept; the error says how many would do."""
    folder = write_products(tmp_path / "few", products=3, drawings=1, photos=1)
    draft = copy(matcher_draft)
    before = (draft / "manifest.json").read_bytes()
    bundle = read_model(draft)
    with pytest.raises(DatasetError, match=r"at least 2 products .*, found \d: give more products, about 25"):
        {
            "calibrate": lambda: products.calibrate(draft, folder, CalibrationOptions()),
            "kept": lambda: list(products.held_out(folder, bundle.manifest.input)),
            "labelled": lambda: products.labelled(folder, bundle),
            "evaluate": lambda: look_up_all(bundle, folder, EngineChoice()),
        }[step]()
    assert (draft / "manifest.json").read_bytes() == before


def test_a_product_that_is_added_moves_no_other(
    calibrated: Bundle, product_folder: Path, tmp_path: Path
) -> None:
    """What was kept from training stays kept, so a threshold is never set with what was trained with later."""
    spec = calibrated.manifest.input
    more = Path(shutil.copytree(product_folder, tmp_path / "more"))
    shutil.copytree(more / "product-00", more / "a-new-one")

    def held_out(folder: Path) -> set[str]:
        pictures = held_out_pictures(folder, spec)
        return {pictures.names[product] for product in pictures.product}

    assert held_out(more) - {"a-new-one"} == held_out(product_folder)


def test_some_photos_of_each_product_are_kept_for_the_closed_set(product_folder: Path, tmp_path: Path) -> None:
    """About a fifth, never the last; all drawings are trained with; a photo that is added moves no other."""
    spec = InputSpec(height=32, width=32)
    split = split_pictures(product_folder, spec)
    assert set(split.closed.product) <= set(split.train.product)
    assert not set(split.closed.product) & set(split.open.product)
    assert (split.closed.hand == PHOTO).all()
    photos = np.bincount(split.train.product[split.train.hand == PHOTO], minlength=40)
    assert (photos[np.unique(split.train.product)] >= 1).all()
    assert (split.train.hand == DRAWING).sum() == 2 * len(np.unique(split.train.product))
    assert 0.1 < len(split.closed) / (len(split.closed) + photos.sum()) < 0.3

    more = Path(shutil.copytree(product_folder, tmp_path / "more"))
    for product in more.iterdir():
        shutil.copy(product_folder / "product-00" / "drawing-0.png", product / "photo-00.png")
    after = {picture.tobytes() for picture in split_pictures(more, spec).closed.pictures}
    assert {picture.tobytes() for picture in split.closed.pictures} <= after


def test_closed_and_open_set_are_looked_up_as_the_line_judges(
    calibrated: Bundle, kept: Pictures, product_folder: Path
) -> None:
    """The scores are those of the line's galleries; a product is looked for among those of both sets."""
    found = look_up_all(calibrated, product_folder, EngineChoice())
    split = split_pictures(product_folder, calibrated.manifest.input)
    with open_engine(EngineChoice(), calibrated) as engine:
        of = galleries(engine, kept)
        photos = kept.where(kept.hand == PHOTO)
        for row, photo in enumerate(photos.pictures[:5]):
            engine.submit(0, [Sample(photo[np.newaxis])])
            outputs = engine.collect(0)[0]
            expected = [gallery.score(outputs)["score"][0] for gallery in of]
            np.testing.assert_array_equal(found.sets["open"].scores[row], expected)
    assert found.everywhere["open"].scores.shape == (len(photos), 40)
    assert found.everywhere["closed"].scores.shape == (len(split.closed), 40)
    assert found.sets["closed"].scores.shape == (len(split.closed), 40 - len(of))
    flat = found.flat()
    limit = np.float32(rejected_below(0.55))
    assert flat["open_same_55"] == (found.sets["open"].same < limit).mean()
    assert flat["closed_different_55"] == (found.sets["closed"].different >= limit).mean()
    first = found.everywhere["open"].scores.argmin(axis=1) == found.everywhere["open"].own
    assert flat["open_top_1"] == first.mean() > 0.5


def test_the_tables_have_a_line_for_each_similarity(calibrated: Bundle, product_folder: Path) -> None:
    """Closed set beside open set, in %."""
    evaluated = products.evaluate(calibrated.folder, product_folder, EvaluateOptions())
    pairs, first = evaluated.tables
    assert [row[0] for row in pairs.rows] == ["0.40", "0.45", "0.50", "0.55", "0.60", "0.70"]
    assert pairs.columns[1::3] == ("closed set: same", "open set: same")
    assert pairs.columns[3::3] == ("closed set: mean", "open set: mean")
    assert first.columns == ("", "closed set", "open set")
    flat = look_up_all(calibrated, product_folder, EngineChoice()).flat()
    assert pairs.rows[2][4] == pytest.approx(100 * flat["open_same_50"])
    assert first.rows[1][1:] == pytest.approx((100 * flat["closed_top_3"], 100 * flat["open_top_3"]))


def test_without_photos_for_it_there_is_no_closed_set(matcher_draft: Path, tmp_path: Path) -> None:
    """A folder with one photo of each product is measured on the open set alone."""
    folder = write_products(tmp_path / "single", products=20, drawings=1, photos=1)
    found = look_up_all(read_model(matcher_draft), folder, EngineChoice())
    assert [*found.sets] == [*found.everywhere] == ["open"]
    assert found.tables()[1].columns == ("", "open set")


def test_the_published_training_is_stopped_by_known_products(product_folder: Path, tmp_path: Path) -> None:
    """By the closed set with its drawings, as in Han (2022); where there is none, by the open set."""
    spec = InputSpec(height=32, width=32)
    split = split_pictures(product_folder, spec)
    known = split.known_photos
    photos = {picture.tobytes() for picture in known.pictures[known.hand == PHOTO]}
    assert photos == {picture.tobytes() for picture in split.closed.pictures}
    drawn, products = np.unique(known.product[known.hand == DRAWING], return_counts=True)
    np.testing.assert_array_equal(drawn, np.unique(split.closed.product))
    assert (products == 2).all()

    single = write_products(tmp_path / "single", products=20, drawings=1, photos=1)
    few = split_pictures(single, spec)
    np.testing.assert_array_equal(few.known_photos.pictures, few.open.pictures)
