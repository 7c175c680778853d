"""The second student sees no more of a defect than it should."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")

from trt_build.methods.stpm.restorer import Restorer  # noqa: E402

CHANNELS, DEEPEST = (6, 8, 10), 12


@pytest.fixture(params=[False, True], ids=["narrow", "as published"])
def restorer(request: pytest.FixtureRequest) -> Restorer:
    torch.manual_seed(0)
    return Restorer(DEEPEST, (8, 12, 16), CHANNELS, as_published=request.param).eval()


def seen() -> list[torch.Tensor]:
    """The second teacher's features of one picture, at strides 4, 8 and 16."""
    return [torch.randn(1, count, side, side) for count, side in zip(CHANNELS, (16, 8, 4), strict=True)]


@torch.no_grad()
def test_it_gives_the_second_teachers_features_from_the_deepest_ones(restorer: Restorer) -> None:
    """From stride 32 to the strides 16, 8 and 4, in the channels of the second teacher."""
    found = restorer(torch.randn(1, DEEPEST, 2, 2), seen())
    assert [tuple(level.shape[1:]) for level in found] == [(6, 16, 16), (8, 8, 8), (10, 4, 4)]


@torch.no_grad()
def test_attention_is_one_number_a_cell(restorer: Restorer) -> None:
    """What its teacher sees at a stride reaches the finer strides alone, and scales all channels alike."""
    deepest, before = torch.randn(1, DEEPEST, 2, 2), seen()
    after = [before[0] + 1, before[1], before[2] + 1]
    scaled: list[torch.Tensor] = []
    restorer.ups[1].register_forward_pre_hook(lambda module, given: scaled.append(given[0]))
    plain, changed = restorer(deepest, before), restorer(deepest, after)
    assert torch.equal(plain[2], changed[2])
    assert not torch.equal(plain[1], changed[1])
    alive = scaled[0] > 0.05
    ratio = torch.where(alive, scaled[1] / scaled[0].clamp_min(1e-9), torch.nan)
    low = torch.where(alive, ratio, torch.inf).amin(1)
    high = torch.where(alive, ratio, -torch.inf).amax(1)
    assert torch.allclose(low, high, atol=1e-4)
    assert not torch.allclose(low, torch.ones(()), atol=1e-3)


@torch.no_grad()
def test_its_teachers_finest_features_are_not_seen(restorer: Restorer) -> None:
    """At stride 4 there is no attention: no detail of the picture gets round the deepest features."""
    deepest, before = torch.randn(1, DEEPEST, 2, 2), seen()
    plain, changed = restorer(deepest, before), restorer(deepest, [before[0] + 1, *before[1:]])
    assert all(torch.equal(a, b) for a, b in zip(plain, changed, strict=True))
