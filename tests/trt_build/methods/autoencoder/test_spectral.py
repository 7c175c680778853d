"""Spectral normalisation: the largest singular value itself, its gradient, and what a normalised layer does."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")

from torch import nn  # noqa: E402

from trt_build.methods.autoencoder.spectral import fold, largest_singular_value, normalised  # noqa: E402


@pytest.mark.parametrize("shape", [(3, 40), (40, 3), (9, 9)])
def test_it_is_the_largest_singular_value(shape: tuple[int, int]) -> None:
    """And its gradient is the product of the two singular vectors, as of torch's own norm."""
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found, expected = [], []
    for norm, kept in ((largest_singular_value, found), (lambda m: torch.linalg.matrix_norm(m, 2), expected)):
        weight = matrix.clone().requires_grad_()
        value = norm(weight)
        value.backward()
        kept += [value.detach(), weight.grad]
    assert torch.allclose(found[0], expected[0])
    assert torch.allclose(found[1], expected[1])


@pytest.fixture
def layers() -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(4, 12, 1), nn.ReLU(), nn.Conv2d(12, 36, 1))
    return normalised(made, growth=9.0)


def test_no_difference_grows_but_by_the_growth(layers: nn.Sequential) -> None:
    """Whatever the weights become in training: as a root mean square, an output never differs more."""
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter += torch.randn_like(parameter) * 3
        codes = torch.randn(2, 200, 4, 1, 1)
        apart = (codes[0] - codes[1]).square().mean((1, 2, 3))
        decoded = (layers(codes[0]) - layers(codes[1])).square().mean((1, 2, 3))
    assert bool((decoded <= apart * (1 + 1e-5)).all())
    assert bool((decoded > 0).all())


def test_the_strongest_direction_keeps_its_length() -> None:
    """As a root mean square: the code's largest influence is neither lost nor exaggerated."""
    torch.manual_seed(0)
    layer = normalised(nn.Sequential(nn.Conv2d(4, 36, 1, bias=False)), growth=9.0)
    with torch.no_grad():
        layer[1].parametrizations.weight.original += torch.randn(36, 4, 1, 1)
        strongest = torch.linalg.svd(layer[1].weight.flatten(1)).Vh[0].reshape(1, 4, 1, 1)
        assert float(layer(strongest).square().mean()) == pytest.approx(float(strongest.square().mean()))


def test_folded_layers_compute_the_same_from_plain_weights(layers: nn.Sequential) -> None:
    """What is exported has neither the normalisation nor the weights under it."""
    codes = torch.randn(2, 4, 3, 3)
    with torch.no_grad():
        before = layers(codes)
        fold(layers)
        assert torch.equal(layers(codes), before)
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 2
    for layer in convolutions:
        assert {name for name, _ in layer.named_parameters()} == {"weight", "bias"}
        norm = float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2))
        assert norm == pytest.approx(1, abs=1e-5)
