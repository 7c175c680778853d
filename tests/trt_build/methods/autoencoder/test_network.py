"""The one-class autoencoder: its two scores and its map."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")
pytest.importorskip("safetensors", reason="needs safetensors, which only building models uses")

from trt_build.methods.autoencoder.method import METHOD  # noqa: E402
from trt_build.methods.autoencoder.network import (  # noqa: E402
    PIXELS,
    Autoencoder,
    AutoencoderConfig,
    AutoencoderError,
)
from trt_build.methods.autoencoder.pixels import PixelDistance  # noqa: E402

SMALL = AutoencoderConfig(height=64, width=96, code=4, hidden=16)
SMALL_PIXELS = replace(PIXELS, height=64, width=96, code=4, hidden=16)


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


def test_what_is_exported_is_folded() -> None:
    """Spectral normalisation leaves plain weights, and the same scores."""
    torch.manual_seed(0)
    model = Autoencoder(replace(SMALL, spectral=True)).eval()
    picture = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    with torch.inference_mode():
        before = model(picture)[0]
    exported = METHOD.exportable(model, height=64, width=96).judge
    with torch.inference_mode():
        assert torch.allclose(exported(picture)[0], before)
    assert not any("parametrizations" in name for name, _ in exported.named_parameters())


@pytest.mark.parametrize(("network", "layers"), [(SMALL, (1, 2, 4)), (SMALL_PIXELS, (2, 3, 4, 5, 6))])
def test_a_decoder_has_as_many_layers_as_asked_for(network: AutoencoderConfig, layers: tuple[int, ...]) -> None:
    """And gives back what the encoder was given, whatever their number."""
    for count in layers:
        model = Autoencoder(replace(network, decoder_layers=count)).eval()
        assert sum(isinstance(layer, torch.nn.Conv2d) for layer in model.decoder) == count
        with torch.inference_mode():
            seen = model.look(torch.zeros(2, 3, 64, 96, dtype=torch.uint8))
            assert model.decoder(model.encode(seen)).shape == seen.shape


def test_pixels_have_one_code_and_a_finer_map() -> None:
    """The code is of the whole picture; the map has a cell for each 4x4 pixels."""
    model = Autoencoder(SMALL_PIXELS).eval()
    picture = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    with torch.inference_mode():
        assert model.encode(model.look(picture)).shape == (2, 4, 1, 1)
        score, map_ = model(picture)
    assert (score.shape, map_.shape) == ((2,), (2, 1, 16, 24))


def test_pixels_are_relative_to_the_mean_picture() -> None:
    """What all good pictures show alike need not be encoded; what differs has a variance of one."""
    model = Autoencoder(SMALL_PIXELS).eval()
    common = torch.randint(80, 160, (1, 3, 64, 96)).float()
    pictures = common + 5 * torch.randn(20, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    seen = model.fit_features(pictures)
    assert float(seen.mean(0).abs().max()) < 1e-4
    assert float(seen.square().mean()) == pytest.approx(1, abs=1e-4)
    assert torch.allclose(model.look(pictures), seen, atol=1e-4)


def test_a_distance_counts_less_where_good_pictures_differ_more() -> None:
    """As at the edges of a part: the same error is unusual elsewhere only."""
    distance = PixelDistance("mse", 64, 64)
    seen = torch.randn(30, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    seen[..., :32] *= 4
    distance.fit(seen, torch.zeros_like(seen))
    good = distance(seen, torch.zeros_like(seen))
    assert 0.4 < float(good[..., 10:].mean()) < float(good[..., :6].mean()) < 1, "a floor is added to each"
    error = torch.ones(1, 3, 64, 64)
    errors = distance(error, torch.zeros_like(error))
    assert float(errors[..., 10:].mean()) > 5 * float(errors[..., :6].mean())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"height": 60}, "multiples of 32 and 1 or 3 channels, found 96x60 and 3"),
        ({"in_channels": 2}, "multiples of 32 and 1 or 3 channels, found 96x64 and 2"),
        ({"decoder_layers": 0}, "--decoder-layers: expected 1 to 8 if the input is features, found 0"),
        ({"decoder_layers": 7, "input": "pixels"}, "--decoder-layers: expected 2 to 6 if the input is pixels"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(wrong: dict[str, object], said: str) -> None:
    """The error says what was expected."""
    with pytest.raises(AutoencoderError, match=said):
        Autoencoder(replace(SMALL, **wrong))
