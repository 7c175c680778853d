"""Distances to the Gaussian of a place: the ones of the textbook, from many pictures and from few."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")

from trt_build.methods.gaussian.places import Gaussians  # noqa: E402

CHANNELS, SIDE = 6, 4
PLACES = SIDE * SIDE


def features(count: int, seed: int = 0, *, alike: bool = False) -> torch.Tensor:
    """Features `(count, 6, 4, 4)`: each place has a mean and a covariance of its own, or all have the same."""
    rng = torch.Generator().manual_seed(7)
    mixing = torch.randn(PLACES, CHANNELS, CHANNELS, generator=rng)
    means = 3 * torch.randn(PLACES, CHANNELS, generator=rng)
    if alike:
        mixing, means = mixing[:1].expand_as(mixing), means[:1].expand_as(means)
    noise = torch.randn(count, PLACES, CHANNELS, 1, generator=torch.Generator().manual_seed(seed))
    drawn = means + (mixing @ noise)[..., 0]
    return drawn.mT.reshape(count, CHANNELS, SIDE, SIDE)


def fitted(seen: torch.Tensor, rank: int = CHANNELS - 1) -> tuple[Gaussians, float]:
    gaussians = Gaussians(CHANNELS, PLACES, rank)
    return gaussians, gaussians.fit(seen)


def test_with_all_directions_the_distance_is_that_of_mahalanobis() -> None:
    """Of the place's mean and covariance, shrunk towards the common one, as the formula says."""
    seen, new = features(40), features(5, seed=1)
    gaussians, share = fitted(seen)
    got = gaussians(new).flatten(1)
    back = torch.linalg.inv(gaussians.whiten.double())
    cells, others = seen.double().flatten(2), new.double().flatten(2)
    for place in range(PLACES):
        own = torch.cov(cells[:, :, place].T)
        covariance = (1 - share) * own + share * back @ back.T
        off = others[:, :, place] - cells[:, :, place].mean(0)
        expected = (off @ torch.linalg.inv(covariance) * off).sum(1) / CHANNELS
        torch.testing.assert_close(got[:, place].double(), expected, rtol=2e-3, atol=1e-3)


def test_good_parts_are_about_one_away() -> None:
    """Those that were not fitted, too, where there are many pictures."""
    gaussians, _ = fitted(features(400))
    assert 0.8 < float(gaussians(features(100, seed=1)).mean()) < 1.2


def test_what_is_usual_elsewhere_is_far_at_its_own_place() -> None:
    """Each place is compared with itself: features of other places are farther than good ones anywhere."""
    gaussians, _ = fitted(features(100))
    new = features(50, seed=1)
    moved = new.flatten(2).roll(1, dims=2).reshape(new.shape)
    assert float(gaussians(moved).mean()) > 5 * float(gaussians(new).mean())


def test_places_that_are_alike_share_their_covariance() -> None:
    """Nothing of its own is made of noise; where places differ, with many pictures, little is shared."""
    assert fitted(features(20, alike=True))[1] > 0.8
    assert fitted(features(400))[1] < 0.1


def test_few_pictures_share_more() -> None:
    """The fewer pictures, the less each place counts by itself."""
    shares = [fitted(features(count))[1] for count in (6, 20, 100)]
    assert shares[0] > shares[1] > shares[2]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_fewer_pictures_than_channels_give_distances(count: int) -> None:
    """Every number is finite, and what is far off is told from what is good."""
    gaussians, _ = fitted(features(count))
    new = features(50, seed=1)
    good, bad = gaussians(new), gaussians(new.roll(1, dims=3))
    assert torch.isfinite(good).all()
    assert float(good.min()) >= 0
    assert float(bad.mean()) > 2 * float(good.mean())


def test_the_size_does_not_grow_with_the_pictures() -> None:
    """The stated number of bytes, for three pictures and for forty."""
    for count in (3, 40):
        gaussians, _ = fitted(features(count), rank=2)
        size = sum(numbers.numel() * numbers.element_size() for numbers in gaussians.state_dict().values())
        assert size == 4 * (CHANNELS * CHANNELS + PLACES * (CHANNELS + 2 * CHANNELS + 1))


def test_a_low_rank_keeps_the_largest_directions() -> None:
    """With fewer directions the distances stay close; without any of its own they do not."""
    seen, new = features(200), features(50, seed=1)
    exact, close, coarse = (fitted(seen, rank)[0](new).flatten() for rank in (CHANNELS - 1, 3, 1))
    errors = [float((other - exact).abs().mean()) for other in (close, coarse)]
    assert errors[0] < errors[1]


def test_many_places_are_decomposed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory is bounded, and the result is the same."""
    whole, share = fitted(features(30))
    monkeypatch.setattr("trt_build.methods.gaussian.places.AT_ONCE", 5 * CHANNELS**2)
    parts, same = fitted(features(30))
    assert share == pytest.approx(same, rel=1e-5)
    torch.testing.assert_close(parts(features(5, seed=1)), whole(features(5, seed=1)), rtol=1e-3, atol=1e-4)
