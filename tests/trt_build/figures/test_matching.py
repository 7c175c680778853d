from __future__ import annotations

import numpy as np
import pytest

from trt_build.data.errors import DatasetError
from trt_build.data.products import Pictures
from trt_build.figures.matching import (
    SIMILARITIES,
    Lookups,
    Pairs,
    called_right,
    equal_error,
    found_among_first,
    pairs_by_group,
    picture_pairs,
)


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


def lookups(similarity: list[list[float]], own: list[int]) -> Lookups:
    """Scores as the line makes them of cosines: 1 minus the cosine, in float32."""
    return Lookups(scores=np.float32(1) - np.array(similarity, np.float32), own=np.array(own))


def test_the_shares_of_pairs_called_right_are_counted_at_each_similarity():
    """Photo 0 is like its product at 0.65 and like others at 0.5 and 0.1; photo 1 at 0.45, 0.3 and 0.41."""
    rows = called_right(lookups([[0.65, 0.5, 0.1], [0.3, 0.45, 0.41]], [0, 1]))
    assert [row.similarity for row in rows] == [*SIMILARITIES] == [0.4, 0.45, 0.5, 0.55, 0.6, 0.7]
    assert [row.same for row in rows] == [1, 1, 0.5, 0.5, 0.5, 0]
    assert [row.different for row in rows] == [0.5, 0.75, 0.75, 1, 1, 1]
    assert [row.shares[2] for row in rows] == [0.75, 0.875, 0.625, 0.75, 0.75, 0.5]


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_a_pair_at_the_similarity_itself_is_called_the_same(similarity: float):
    """As Han (2022) decides, in float32: an equal pair is one product, right or wrong; a little less is two."""
    less = float(np.float32(similarity) - np.float32(1e-6))
    (at,) = called_right(lookups([[similarity, similarity]], [0]), [similarity])
    assert (at.same, at.different) == (1, 0)
    (below,) = called_right(lookups([[less, less]], [0]), [similarity])
    assert (below.same, below.different) == (0, 1)


def test_a_product_is_found_among_the_first():
    """Own products come first, second and fourth; an equal product counts as better."""
    found = found_among_first(
        lookups([[0.9, 0.1, 0.2, 0.3], [0.9, 0.5, 0.2, 0.3], [0.9, 0.8, 0.7, 0.7]], [0, 1, 3]), (1, 2, 3, 4)
    )
    assert found == {1: pytest.approx(1 / 3), 2: pytest.approx(2 / 3), 3: pytest.approx(2 / 3), 4: 1}


def test_photos_can_be_held_against_some_products_alone():
    """The own product stays the own product in the columns that are left."""
    some = lookups([[0.9, 0.1, 0.2], [0.4, 0.5, 0.6]], [0, 2]).among(np.array([True, False, True]))
    np.testing.assert_allclose(1 - some.same, [0.9, 0.6], atol=1e-6)
    np.testing.assert_allclose(1 - some.different, [0.2, 0.4], atol=1e-6)


def test_one_product_has_no_other_to_be_told_from():
    """The message says what was found."""
    with pytest.raises(DatasetError, match="found 1 photos and 1 products"):
        called_right(lookups([[0.9]], [0]))
