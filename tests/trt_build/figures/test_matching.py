from __future__ import annotations

import numpy as np
import pytest

from trt_build.data.errors import DatasetError
from trt_build.data.products import Pictures
from trt_build.figures.matching import Pairs, equal_error, pairs_by_group, picture_pairs


def test_at_the_threshold_both_errors_are_equal():
    """With one in five of both kinds on the wrong side, the threshold lies between and the error is 0.2."""
    pairs = Pairs(
        same=np.array([0.3, 0.6, 0.7, 0.8, 0.9], np.float32),
        different=np.array([0.1, 0.2, 0.25, 0.28, 0.65], np.float32),
    )
    threshold, error = equal_error([pairs])
    assert 0.3 < threshold < 0.6
    assert error == pytest.approx(0.2)


def test_kinds_that_can_be_told_apart_have_no_error():
    """The threshold is the middle of the gap."""
    pairs = Pairs(same=np.array([0.8, 0.9], np.float32), different=np.array([0.1, 0.4], np.float32))
    assert equal_error([pairs]) == (pytest.approx(0.6), 0)


def test_no_threshold_without_pairs_of_both_kinds():
    """One held-out product makes no different pair: the message says to hold out more."""
    pairs = Pairs(same=np.array([0.9], np.float32), different=np.empty(0, np.float32))
    with pytest.raises(DatasetError, match="1 and 0: hold out more"):
        equal_error([pairs])


def test_pairs_are_of_two_hands():
    """A drawer's own pictures are never held against each other; within groups no pair crosses them."""
    product = np.repeat(np.arange(6), 4)
    some = Pictures(
        pictures=np.empty((24, 1, 1, 1), np.uint8),
        product=product,
        group=product // 3,
        hand=np.tile([1, 2, 3, 4], 6),
        names=tuple("abcdef"),
    )
    vectors = np.eye(6, dtype=np.float32)[product]
    everything = picture_pairs(vectors, some)
    assert (len(everything.same), len(everything.different)) == (6 * 6, 15 * 12)
    within = pairs_by_group(vectors, some)
    assert [(len(p.same), len(p.different)) for p in within] == [(3 * 6, 3 * 12)] * 2
