"""The norm of a decoder's Jacobian, in every form, against the Jacobian that is written out."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")

from torch import nn  # noqa: E402
from torch.func import jacrev  # noqa: E402

from trt_build.methods.autoencoder.jacobian import exact, forward_projected, reverse_projected  # noqa: E402


@pytest.fixture
def decoder() -> nn.Module:
    """Five numbers into thirty, bent."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 12), nn.Tanh(), nn.Linear(12, 30)).double()


@pytest.fixture
def centre() -> torch.Tensor:
    return torch.linspace(-1, 1, 5, dtype=torch.float64)


def written_out(decoder: nn.Module, centre: torch.Tensor) -> float:
    return float(jacrev(decoder)(centre).square().sum().detach())


def test_the_exact_form_is_the_norm(decoder: nn.Module, centre: torch.Tensor) -> None:
    """No approximation where a picture is small."""
    torch.set_default_dtype(torch.float64)
    try:
        assert float(exact(decoder, centre).detach()) == pytest.approx(written_out(decoder, centre))
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("form", [forward_projected, reverse_projected])
def test_a_projection_has_the_norm_as_its_mean(form, decoder: nn.Module, centre: torch.Tensor) -> None:
    """Over many directions the approximation is neither too high nor too low."""
    torch.manual_seed(1)
    torch.set_default_dtype(torch.float64)
    try:
        found = float(form(decoder, centre, count=20_000).detach())
    finally:
        torch.set_default_dtype(torch.float32)
    assert found == pytest.approx(written_out(decoder, centre), rel=0.03)


def test_the_forward_form_varies_less(decoder: nn.Module, centre: torch.Tensor) -> None:
    """A code has far fewer numbers than a picture, so one direction of it tells more."""
    torch.manual_seed(2)
    torch.set_default_dtype(torch.float64)
    try:
        spread = [
            torch.stack([form(decoder, centre, count=1).detach() for _ in range(300)]).std()
            for form in (forward_projected, reverse_projected)
        ]
    finally:
        torch.set_default_dtype(torch.float32)
    assert spread[0] < spread[1]


def test_by_place_is_the_norm_of_a_decoder_that_decodes_each_place_alone() -> None:
    """A few directions do for a whole map of codes."""
    torch.manual_seed(3)
    decoder = nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU(), nn.Conv2d(6, 4, 1))
    centre = torch.randn(3, 4, 5)
    assert float(exact(decoder, centre, by_place=True).detach()) == pytest.approx(
        float(exact(decoder, centre).detach()), rel=1e-4
    )


@pytest.mark.parametrize("form", [exact, lambda d, c: forward_projected(d, c, count=2)])
def test_the_norm_can_be_made_smaller(form) -> None:
    """Its gradient reaches the decoder's weights."""
    torch.manual_seed(4)
    decoder = nn.Linear(5, 30)
    form(decoder, torch.zeros(5)).backward()
    assert decoder.weight.grad is not None
    assert float((decoder.weight.grad * decoder.weight.detach()).sum()) > 0
