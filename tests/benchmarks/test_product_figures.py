from __future__ import annotations

import numpy as np
import pytest
from product_figures import (
    gallery,
    measure_omniglot,
    measure_products,
    measure_protocol,
    one_shot,
    photo_pairs,
)
from public_products import Split

from trt_build.data.errors import DatasetError
from trt_build.data.products import DRAWING, PHOTO, Pictures


def labelled(product: list[int], group: list[int], hand: list[int], vectors: np.ndarray) -> Pictures:
    """Pictures that carry their embedding as pixels, so that `as_pixels` can embed them."""
    pixels = np.round(vectors * 100 + 128).astype(np.uint8)[:, None, None, :]
    return Pictures(
        pictures=pixels,
        product=np.array(product),
        group=np.array(group),
        hand=np.array(hand),
        names=tuple(f"{i}" for i in range(max(product) + 1)),
    )


def as_pixels(pictures: np.ndarray) -> np.ndarray:
    vectors = pictures[:, 0, 0].astype(np.float32) - 128
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def characters(groups: int, each: int, spread: float, seed: int = 0) -> Pictures:
    """Characters by four drawers: random directions with some deviation of each drawer's own."""
    rng = np.random.default_rng(seed)
    product = np.repeat(np.arange(groups * each), 4)
    middle = rng.normal(size=(groups * each, 32))[product]
    vectors = middle + spread * rng.normal(size=middle.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return labelled(product.tolist(), (product // each).tolist(), [1, 2, 3, 4] * (groups * each), vectors)


def test_the_best_view_decides():
    """A photo is as similar to a product as to that of its drawings which it resembles most."""
    shown = gallery(np.eye(4, dtype=np.float32)[[3, 0, 1, 2]], np.array([7, 2, 2, 5]))
    photos = np.array([[0.1, 0.9, 0.3, 0.2], [0, 0, 0, 1]], np.float32)
    np.testing.assert_allclose(shown.similarity(photos), [[0.9, 0.3, 0.2], [0, 0, 1]], atol=1e-7)


def test_a_gallery_of_nothing_is_refused():
    """Without a drawing nothing can be compared."""
    with pytest.raises(DatasetError, match="0 drawings"):
        gallery(np.empty((0, 4), np.float32), np.empty(0, np.int64))


def test_a_photo_meets_products_and_not_drawings():
    """With two drawings a product there still is one same pair a photo; alike ones are of its category."""
    product, group = [0, 0, 0, 1, 1, 2, 2], [0, 0, 0, 0, 0, 1, 1]
    hand = [DRAWING, DRAWING, PHOTO, DRAWING, PHOTO, DRAWING, PHOTO]
    angle = np.deg2rad([0, 90, 80, 45, 45, 180, 170])
    some = labelled(product, group, hand, np.stack((np.cos(angle), np.sin(angle)), axis=1))
    vectors = as_pixels(some.pictures)
    pairs = photo_pairs(vectors, some, alike=False)
    assert (len(pairs.same), len(pairs.different)) == (3, 6)
    np.testing.assert_allclose(pairs.same, np.cos(np.deg2rad([10, 0, 10])), atol=0.02)
    assert len(photo_pairs(vectors, some, alike=True).different) == 2


def test_the_test_products_only_meet_the_threshold():
    """It is the validation's: test pairs that all lie above it are called same, right or wrong."""
    rng = np.random.default_rng(0)

    def products(common: float) -> Pictures:
        product = np.repeat(np.arange(12), 2)
        vectors = np.concatenate((np.eye(12)[product], np.full((24, 1), common)), axis=1)
        vectors += rng.normal(scale=0.02, size=vectors.shape)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return labelled(product.tolist(), (product % 2).tolist(), [DRAWING, PHOTO] * 12, vectors)

    apart, close = products(0.0), products(3.0)
    figures = measure_products(as_pixels, Split(train=apart, validation=apart, test=apart))
    assert figures["any_mean"] == figures["alike_mean"] == 100
    figures = measure_products(as_pixels, Split(train=apart, validation=apart, test=close))
    assert (figures["any_same"], figures["any_different"], figures["any_mean"]) == (100, 0, 50)


def test_one_shot_is_chance_for_noise_and_perfect_for_what_is_plain():
    """Twenty ways: 5 % by guessing, 100 % where drawers agree."""
    assert one_shot(as_pixels((plain := characters(3, 24, 0.1)).pictures), plain, runs=2) == 1
    assert one_shot(as_pixels((noise := characters(3, 24, 50)).pictures), noise, runs=20) == pytest.approx(
        0.05, abs=0.03
    )


def test_one_shot_needs_twenty_characters():
    """An alphabet that is too small is named."""
    few = characters(2, 19, 0.1)
    with pytest.raises(DatasetError, match="group 0: expected at least 20 characters, found 19"):
        one_shot(as_pixels(few.pictures), few, runs=2)


def test_omniglot_is_measured_both_ways():
    """Verification within alphabets and across, one-shot in 400 and in many trials; the same each time."""
    validation, test = characters(2, 20, 0.8, seed=1), characters(2, 20, 0.8, seed=2)
    split = Split(train=validation, validation=validation, test=test)
    figures = measure_omniglot(as_pixels, split)
    assert figures == measure_omniglot(as_pixels, split)
    assert 80 < figures["alike_mean"] < 100
    assert figures["any_mean"] == pytest.approx(figures["alike_mean"], abs=3)  # here alphabets mean nothing
    assert figures["one_shot"] == pytest.approx(figures["one_shot_many"], abs=15)
    assert abs(figures["alike_same"] - figures["alike_different"]) < 10


def test_the_sources_table_has_both_sets_side_by_side():
    """Known products are told apart, unknown ones all look alike; photos meet products of their own set."""
    rng = np.random.default_rng(0)

    def products(common: float) -> Pictures:
        product = np.repeat(np.arange(12), 2)
        vectors = np.concatenate((np.eye(12)[product], np.full((24, 1), common)), axis=1)
        vectors += rng.normal(scale=0.02, size=vectors.shape)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return labelled(product.tolist(), [0] * 24, [DRAWING, PHOTO] * 12, vectors)

    found = measure_protocol(as_pixels, products(0.0), products(3.0))
    assert [found[f"closed_{what}_50"] for what in ("same", "different", "mean")] == [100, 100, 100]
    assert [found[f"open_{what}_70"] for what in ("same", "different", "mean")] == [100, 0, 50]
    assert [found[f"closed_top_{number}"] for number in (1, 3, 5)] == [100, 100, 100]
    assert len(found) == 2 * (6 * 3 + 3)
