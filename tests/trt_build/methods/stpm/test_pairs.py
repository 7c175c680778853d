"""How much a second pair counts."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")

from discs import discs  # noqa: E402

from trt_build.figures.ranking import image_auroc  # noqa: E402
from trt_build.methods.good_parts.maps import MapScale  # noqa: E402
from trt_build.methods.stpm.pairs import WEIGHTS, Pairs, _sure_gain, _wins  # noqa: E402
from trt_build.methods.stpm.pasted import SIDES, with_pasted  # noqa: E402


def maps(seed: int, shown: tuple[float, float]) -> list[torch.Tensor]:
    """Noise of 24 parts at three strides, for two pairs, and how much a defect in each adds to each pair."""
    torch.manual_seed(seed)
    noise = [torch.rand(24, 1, 32 >> i, 32 >> i) for _ in range(2) for i in range(3)]
    for pair, height in enumerate(shown):
        for i in range(3):
            noise[3 * pair + i][:, :, : 8 >> i, : 8 >> i] += height
    return noise


def fitted(first: float, second: float) -> Pairs:
    """Pairs whose maps show defects as clearly as that."""
    pairs = Pairs(3)
    pairs.fit([maps(0, (0, 0))], [maps(1, (first, second))])
    return pairs


def test_a_second_pair_that_finds_more_counts() -> None:
    """Where the first sees next to nothing, the second has the largest weight."""
    assert float(fitted(0.02, 0.5).weight) == max(WEIGHTS)


@pytest.mark.parametrize("second", [0.0, 0.15], ids=["blind", "no better"])
def test_a_second_pair_that_finds_no_more_changes_nothing(second: float) -> None:
    """Score and map are those of the first pair alone, to the last bit."""
    pairs, alone, shown = fitted(0.5, second), MapScale(3), maps(2, (0.1, 0.9))
    alone.fit([maps(0, (0, 0))[:3]])
    assert float(pairs.weight) == 0
    assert all(torch.equal(mine, its) for mine, its in zip(pairs(shown), alone(shown[:3]), strict=True))


def test_a_gain_that_may_be_chance_does_not_count() -> None:
    """One defect of forty that is found better is no gain; a little more of each is."""
    one = torch.zeros(40, 10)
    one[3] = 0.5
    assert _sure_gain(one) < 0
    assert _sure_gain(torch.full((40, 10), 0.0125)) == pytest.approx(0.0125)
    assert _sure_gain(torch.zeros(40, 10)) == 0


def test_the_mean_of_all_wins_is_the_auroc() -> None:
    """A tie counts half."""
    good, defective = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 4.0])
    assert _wins(good, defective).tolist() == [[1, 0.5, 0], [1, 1, 1]]
    assert float(_wins(good, defective).mean()) == pytest.approx(image_auroc(good.numpy(), defective.numpy()))


def test_a_pasted_defect_is_one_patch_that_shows() -> None:
    """Each copy differs from its picture in one small rectangle, the same each time for a seed."""
    good = discs(12, 0)
    bad = with_pasted(good, 1)
    assert torch.equal(bad, with_pasted(good, 1))
    assert not torch.equal(bad, with_pasted(good, 2))
    for before, after in zip(good.numpy().astype(int), bad.numpy().astype(int), strict=True):
        rows, columns = np.nonzero(np.abs(after - before).max(0))
        patch = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
        assert max(np.ptp(rows), np.ptp(columns)) < SIDES[1] * 64
        assert np.abs(after - before)[(slice(None), *patch)].mean() > 4
