"""Distances between features are what they are called."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")

from trt_build.methods.good_parts.distance import RANGE, Deviation, distance_of, ssim_distance  # noqa: E402


def planes(seed: int) -> torch.Tensor:
    return torch.randn(2, 3, 12, 10, generator=torch.Generator().manual_seed(seed))


def test_the_structural_similarity_is_that_of_its_paper() -> None:
    """Of one channel in the middle of a window of 7x7 cells, worked out by the formula."""
    one, other = planes(0), planes(1)
    x, y = one[0, 0, 2:9, 1:8].double(), other[0, 0, 2:9, 1:8].double()
    first, second = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2
    shared = ((x - x.mean()) * (y - y.mean())).mean()
    likeness = (2 * x.mean() * y.mean() + first) * (2 * shared + second)
    likeness /= (x.mean() ** 2 + y.mean() ** 2 + first) * (x.var(correction=0) + y.var(correction=0) + second)
    found = ssim_distance(one[:1, :1], other[:1, :1])[0, 0, 5, 4]
    assert float(found) == pytest.approx(1 - float(likeness), abs=1e-5)


def test_equal_pictures_are_alike() -> None:
    """The distance is zero, and grows with noise."""
    one = planes(0)
    distances = [float(ssim_distance(one, one + noise * planes(1)).mean()) for noise in (0, 0.1, 1)]
    assert distances[0] == pytest.approx(0, abs=1e-5)
    assert distances == sorted(distances)


@pytest.mark.parametrize(("kind", "share"), [("mse", 0.0), ("ssim", 1.0), ("both", 0.5)])
def test_a_kind_says_what_counts(kind: str, share: float) -> None:
    """The squared error, the unlikeness, or the mean of both."""
    one, other = planes(0), planes(1)
    error = (one - other).square().mean(1, keepdim=True)
    expected = share * ssim_distance(one, other) + (1 - share) * error
    assert torch.allclose(distance_of(kind, error, one, other), expected, atol=1e-6)  # type: ignore[arg-type]


def test_usual_differences_of_good_parts_count_about_one() -> None:
    """Whatever the units and however channels go together; before good parts are seen, the norm is Euclid's."""
    generator = torch.Generator().manual_seed(2)
    usual = torch.randn(50, 3, 6, 6, generator=generator)
    usual = torch.einsum("cd,ndhw->nchw", torch.tensor([[9.0, 0, 0], [6, 7, 0], [0, 0, 0.01]]), usual)
    norm = Deviation(3)
    assert torch.allclose(norm(usual), usual.square().mean(1, keepdim=True), rtol=1e-4)
    norm.fit(usual)
    assert float(norm(usual).mean()) == pytest.approx(1, abs=0.05)
