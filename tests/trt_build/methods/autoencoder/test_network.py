"""The one-class autoencoder: its two scores and its map."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")
pytest.importorskip("safetensors", reason="needs safetensors, which only building models uses")

from trt_build.methods.autoencoder.network import Autoencoder, AutoencoderConfig, AutoencoderError  # noqa: E402

SMALL = AutoencoderConfig(height=64, width=96, code=4, hidden=16)


@pytest.fixture
def model() -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(SMALL).eval()


@pytest.fixture
def seen(model: Autoencoder) -> torch.Tensor:
    """What might be seen of ten pictures, on the scale of good ones."""
    channels = sum(model.backbone.channels)
    return torch.randn(10, channels, 4, 6, generator=torch.Generator().manual_seed(1))


def test_a_picture_has_a_score_and_a_map(model: Autoencoder) -> None:
    """One number for the part, and one for each cell of 4x4 pixels."""
    with torch.inference_mode():
        score, map_ = model(torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8))
    assert (score.shape, map_.shape) == ((2,), (2, 1, 16, 24))
    assert bool(score.isfinite().all() & map_.isfinite().all())


def test_the_score_joins_both_by_the_means_of_good_parts(model: Autoencoder, seen: torch.Tensor) -> None:
    """A part that is as usual as those kept from training scores two."""
    model.fit_scale(seen, seen[:5])
    l1, l2, _ = model.judge(seen[:5])
    assert model.lambdas.tolist() == pytest.approx(
        [1 / float(l1.mean().detach()), 1 / float(l2.mean().detach())]
    )
    assert float((model.lambdas[0] * l1 + model.lambdas[1] * l2).mean().detach()) == pytest.approx(2, rel=1e-4)


def test_spectral_normalisation_is_folded_into_plain_weights() -> None:
    """What is exported computes the same without it."""
    torch.manual_seed(0)
    model = Autoencoder(replace(SMALL, spectral=True)).eval()
    code = torch.randn(1, SMALL.code, 4, 6)
    with torch.inference_mode():
        before = model.decoder(code)
    assert torch.allclose(model.fold().decoder(code), before, atol=1e-6)
    assert all(name in ("weight", "bias") for name, _ in model.decoder[0].named_parameters())


@pytest.mark.parametrize("wrong", [{"height": 60}, {"in_channels": 2}])
def test_a_shape_that_does_not_fit_is_refused(wrong: dict[str, int]) -> None:
    """The error says what was expected."""
    with pytest.raises(AutoencoderError, match="multiples of 32 and 1 or 3 channels"):
        Autoencoder(replace(SMALL, **wrong))
