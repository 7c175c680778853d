from __future__ import annotations

import numpy as np
import pytest

from trt_build.figures.boxes import Boxes, best_cut, class_mean_ap, official_score, overlaps


def boxes(*rows: tuple[int, int, int, float]) -> Boxes:
    """Boxes of 10x10 pixels from rows `(x, y, kind, score)`."""
    table = np.array(rows, np.float64).reshape(-1, 4)
    return Boxes(
        boxes=np.concatenate((table[:, :2], table[:, :2] + 10), axis=1),
        kinds=table[:, 2].astype(np.int64),
        scores=table[:, 3],
    )


TRUTH = [boxes((0, 0, 0, 1), (50, 0, 1, 1)), boxes((0, 50, 0, 1))]


def test_all_found_and_nothing_else_is_a_full_score():
    """A perfect submission scores one everywhere."""
    score = official_score(TRUTH, TRUTH)
    assert (score.ap, score.precision, score.recall, score.f) == (1, 1, 1, 1)
    assert class_mean_ap(TRUTH, TRUTH, iou=0.5, kinds=2) == (1.0, [1.0, 1.0])


def test_nothing_found_scores_nothing():
    """An empty submission is no error."""
    nothing = [boxes(), boxes()]
    score = official_score(TRUTH, nothing)
    assert (score.ap, score.precision, score.recall, score.f) == (0, 0, 0, 0)
    assert class_mean_ap(TRUTH, nothing, iou=0.5, kinds=2)[0] == 0


def test_the_official_ap_is_pooled_over_kinds_and_pictures():
    """One list of all boxes by score: hits at ranks 1 and 3 of three true boxes give (1 + 2/3) / 3."""
    found = [boxes((0, 0, 0, 0.9), (90, 90, 1, 0.8), (50, 0, 1, 0.7)), boxes()]
    assert official_score(TRUTH, found).ap == pytest.approx((1 + 2 / 3) / 3)


def test_the_official_script_matches_in_file_order():
    """Of two boxes on one defect the first in the file counts, even where the second is stronger."""
    found = [boxes((1, 0, 0, 0.2), (0, 0, 0, 0.9))]
    score = official_score([boxes((0, 0, 0, 1))], found)
    assert score.ap == pytest.approx(1 / 2)  # the hit stands at rank 2
    assert class_mean_ap([boxes((0, 0, 0, 1))], found, iou=0.5, kinds=1)[0] == 1


def test_the_official_script_lets_a_wrong_kind_use_up_a_defect():
    """A box of the wrong kind that comes first takes the true box away from the right one after it."""
    found = [boxes((0, 0, 1, 0.9), (1, 0, 0, 0.8))]
    score = official_score([boxes((0, 0, 0, 1))], found)
    assert (score.ap, score.f) == (0, 0)


def test_the_official_overlap_must_exceed_a_third():
    """Boxes that overlap by exactly the limit do not match."""
    one, other = boxes((0, 0, 0, 1)), boxes((5, 0, 0, 1))
    assert overlaps(one.boxes, other.boxes)[0, 0] == pytest.approx(1 / 3)
    assert official_score([one], [other], iou=0.33).f == 1
    assert official_score([one], [other], iou=1 / 3 + 1e-9).f == 0


def test_precision_recall_and_f_count_the_boxes_from_the_cut_on():
    """Weak boxes belong to the precision curve but not to what is handed in."""
    found = [boxes((0, 0, 0, 0.9), (50, 0, 1, 0.8), (90, 90, 0, 0.1)), boxes()]
    assert official_score(TRUTH, found).precision == pytest.approx(2 / 3)
    score = official_score(TRUTH, found, cut=0.85)
    assert (score.ap, score.ap_at_cut) == pytest.approx((2 / 3, 1 / 3))
    score = official_score(TRUTH, found, cut=0.5)
    assert (score.precision, score.recall) == pytest.approx((1, 2 / 3))
    assert score.f == pytest.approx(0.8)


def test_the_cut_lies_between_true_and_false_boxes():
    """The chosen cut keeps what is right and drops what is wrong."""
    found = [boxes((0, 0, 0, 0.9), (50, 0, 1, 0.6), (90, 90, 0, 0.3)), boxes((0, 50, 0, 0.7), (9, 90, 1, 0.2))]
    assert 0.3 < best_cut(TRUTH, found) <= 0.6


def test_class_mean_ap_uses_the_precision_envelope():
    """Two of two found with one false box between them: the area under the envelope is 1/2 + 1/2 * 2/3."""
    truth = [boxes((0, 0, 0, 1), (50, 0, 0, 1))]
    found = [boxes((0, 0, 0, 0.9), (90, 90, 0, 0.8), (50, 0, 0, 0.7))]
    assert class_mean_ap(truth, found, iou=0.5, kinds=1)[0] == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_class_mean_ap_counts_a_second_box_on_a_defect_as_false():
    """A duplicate is a false alarm."""
    truth = [boxes((0, 0, 0, 1), (50, 0, 0, 1))]
    found = [boxes((0, 0, 0, 0.9), (1, 0, 0, 0.8), (50, 0, 0, 0.7))]
    assert class_mean_ap(truth, found, iou=0.5, kinds=1)[0] == pytest.approx(0.5 + 0.5 * 2 / 3)
