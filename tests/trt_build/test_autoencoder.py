"""The one-class autoencoder: its two scores, its gradients, and what fails a training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")
pytest.importorskip("safetensors", reason="needs safetensors, which only building models uses")

from trt_build.backbones import build_backbone  # noqa: E402
from trt_build.models.autoencoder import Autoencoder, AutoencoderConfig, AutoencoderError  # noqa: E402
from trt_build.train import CheckpointError, TrainConfig  # noqa: E402
from trt_build.train_autoencoder import (  # noqa: E402
    AutoencoderTask,
    Batch,
    CollapseError,
    Learning,
    load_autoencoder,
    train_autoencoder,
)

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


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backbone's file with weights that were never trained: enough to train on what it sees."""
    from safetensors.torch import save_file

    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    save_file(build_backbone("mobilenet_v2").network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 150 good parts: grey noise."""
    folder = tmp_path_factory.mktemp("parts")
    (folder / "train" / "good").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(150):
        picture = rng.integers(60, 190, (64, 96, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / "train" / "good" / f"{i:03d}.png"), picture)
    return folder


def test_a_picture_has_a_score_and_a_map(model: Autoencoder) -> None:
    """One number for the part, and one for each cell of 4x4 pixels."""
    with torch.inference_mode():
        score, map_ = model(torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8))
    assert (score.shape, map_.shape) == ((2,), (2, 1, 16, 24))
    assert bool(score.isfinite().all() & map_.isfinite().all())


def test_the_score_joins_both_by_the_means_of_good_parts(model: Autoencoder, seen: torch.Tensor) -> None:
    """A part that is as usual as those kept from training scores two."""
    model.settle(seen, seen[:5])
    l1, l2, _ = model.judge(seen[:5])
    assert model.lambdas.tolist() == pytest.approx(
        [1 / float(l1.mean().detach()), 1 / float(l2.mean().detach())]
    )
    assert float((model.lambdas[0] * l1 + model.lambdas[1] * l2).mean().detach()) == pytest.approx(2, rel=1e-4)


def test_one_step_gives_each_half_the_gradients_of_the_patent(model: Autoencoder, seen: torch.Tensor) -> None:
    """L1 moves the encoder alone, L3 the decoder alone, L2 both; their sum is what one step takes."""
    learning = Learning(jacobian="exact")
    task = AutoencoderTask(model=model, seen=seen, held_out=seen[:2], learning=learning)
    batch = Batch(torch.arange(10), centred=True)

    def gradients(loss: torch.Tensor) -> dict[str, torch.Tensor]:
        names = [name for name, p in model.named_parameters() if p.requires_grad]
        given = [model.get_parameter(name) for name in names]
        found = torch.autograd.grad(loss, given, allow_unused=True, retain_graph=True)
        return {name: g for name, g in zip(names, found, strict=True) if g is not None and bool(g.any())}

    l1, l2, l3 = (gradients(loss) for loss in task.losses(batch))
    assert {name.partition(".")[0] for name in l1} == {"encoder"}
    assert {name.partition(".")[0] for name in l3} == {"decoder"}
    assert {name.partition(".")[0] for name in l2} == {"encoder", "decoder"}
    weighed = [(learning.pull, l1), (1.0, l2), (learning.smoothness, l3)]
    for name, gradient in gradients(task.loss(batch)).items():
        apart = sum(weight * g[name] for weight, g in weighed if name in g)
        assert torch.allclose(gradient, apart, rtol=1e-3, atol=1e-6), name


def test_codes_that_tell_nothing_fail_the_training(model: Autoencoder, seen: torch.Tensor) -> None:
    """Nobody gets a model that scores every part alike."""
    task = AutoencoderTask(model=model, seen=seen, held_out=seen[:5], learning=Learning())
    for parameter in model.encoder.parameters():
        parameter.data.zero_()
    with torch.no_grad(), pytest.raises(CollapseError, match="codes of all pictures are the same"):
        task.check(model)


def test_a_decoder_that_makes_up_for_small_codes_fails_the_training(
    model: Autoencoder, seen: torch.Tensor
) -> None:
    """The free direction that L3 closes is noticed where it is open."""
    task = AutoencoderTask(model=model, seen=seen, held_out=seen[:5], learning=Learning())
    for half, factor in ((model.encoder, 1.0), (model.decoder, 1e4)):
        for name, parameter in half.named_parameters():
            parameter.data *= factor if name.startswith("0.weight") else 1.0
    with torch.no_grad(), pytest.raises(CollapseError, match="raise `smoothness`"):
        task.check(model)


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


def test_a_training_leaves_a_model_that_can_be_loaded(parts: Path, weights: Path, tmp_path: Path) -> None:
    """From a folder of good parts to a model that judges; a second call has nothing left to do."""
    training = TrainConfig(epochs=3, rate=1e-3, bf16=False)
    learning = Learning(alone=1, batch=8)
    options = {"network": SMALL, "training": training, "learning": learning, "weights": weights}
    assert train_autoencoder(parts, tmp_path, **options) == 3
    assert train_autoencoder(parts, tmp_path, **options) == 3
    model = load_autoencoder(tmp_path / "checkpoint.pt")
    with torch.inference_mode():
        score, _ = model(torch.zeros(1, 3, 64, 96, dtype=torch.uint8))
    assert float(score) > 2, "a black picture is as usual as a good part"


def test_another_models_checkpoint_is_refused(tmp_path: Path) -> None:
    """The error names the file."""
    torch.save({"weights": {}, "describe": {"model": "stpm"}, "epoch": 1}, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="expected an autoencoder"):
        load_autoencoder(tmp_path / "checkpoint.pt")
