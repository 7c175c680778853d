"""From a folder of good parts to a checkpoint that judges, also where a training is stopped or short."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")
pytest.importorskip("safetensors", reason="needs safetensors, which only building models uses")

from trt_build.data.parts import pictures, read_parts, split_good  # noqa: E402
from trt_build.methods import checkpoint, loop  # noqa: E402
from trt_build.methods.autoencoder.network import PIXELS, Autoencoder, AutoencoderConfig  # noqa: E402
from trt_build.methods.autoencoder.task import AutoencoderTask, LossConfig, Losses  # noqa: E402
from trt_build.methods.autoencoder.train import train_autoencoder  # noqa: E402
from trt_build.methods.checkpoint import CHECKPOINT  # noqa: E402
from trt_build.methods.loop import TrainConfig  # noqa: E402
from trt_build.methods.trained import load_trained  # noqa: E402

SMALL = {
    "features": AutoencoderConfig(backbone="mobilenet_v2", height=32, width=64, code=4, hidden=16),
    "pixels": replace(PIXELS, height=32, width=64, code=8, hidden=16),
}


def disc(seed: int) -> np.ndarray:
    """A good part `(32, 64, 3)` uint8: a disc of some brightness somewhere, a little noisy."""
    rng = np.random.default_rng(seed)
    picture = np.full((32, 64, 3), 90, np.uint8)
    middle, light = (int(rng.integers(16, 48)), 16), int(rng.integers(120, 200))
    cv2.circle(picture, middle, 9, (light, light, light), -1)
    return (picture + rng.uniform(-4, 4, picture.shape)).astype(np.uint8)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 150 good parts."""
    folder = tmp_path_factory.mktemp("parts")
    (folder / "train" / "good").mkdir(parents=True)
    for i in range(150):
        cv2.imwrite(str(folder / "train" / "good" / f"{i:03d}.png"), disc(i))
    return folder


@pytest.mark.parametrize("kind", SMALL)
def test_a_training_leaves_a_model_that_can_be_loaded(
    parts: Path, untrained: Path, tmp_path: Path, kind: str
) -> None:
    """From a folder of good parts to a model that judges; a second call has nothing left to do."""
    training = TrainConfig(epochs=3, rate=1e-3, bf16=False)
    options = {"network": SMALL[kind], "training": training, "weights": untrained}
    assert train_autoencoder(parts, tmp_path, **options) == 3
    assert train_autoencoder(parts, tmp_path, **options) == 3
    model = load_trained(tmp_path / CHECKPOINT).network
    with torch.inference_mode():
        score, _ = model(torch.zeros(1, 3, 32, 64, dtype=torch.uint8))
    assert float(score) > 2, "a black picture is as usual as a good part"


def test_other_losses_do_not_go_on_where_the_first_stopped(
    parts: Path, untrained: Path, tmp_path: Path
) -> None:
    """A model is not made half with one centre and half with another."""
    options = {"network": SMALL["features"], "weights": untrained}
    train_autoencoder(parts, tmp_path, training=TrainConfig(epochs=1, bf16=False), **options)
    with pytest.raises(checkpoint.CheckpointError, match="of another training"):
        train_autoencoder(
            parts,
            tmp_path,
            training=TrainConfig(epochs=2, bf16=False),
            loss_config=LossConfig(centre="moving"),
            **options,
        )


def stopped(
    parts: Path, weights: Path, folder: Path, network: AutoencoderConfig, losses: LossConfig, epochs: int
) -> list[Autoencoder]:
    """The models that a training leaves if it is stopped after its first epoch, its second, and so on."""
    kept: list[Path] = []
    save = loop._Run.save

    def save_and_keep(run: object, path: Path, done: int) -> None:
        save(run, path, done)
        kept.append(Path(shutil.copy(path, folder / f"{done}.pt")))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop._Run, "save", save_and_keep)
        training = TrainConfig(epochs=epochs, rate=3e-3, check_every=100, bf16=False)
        train_autoencoder(
            parts, folder, network=network, training=training, loss_config=losses, weights=weights
        )
    assert len(kept) == epochs
    return [load_trained(path).network for path in kept]


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("centre", ["fixed", "moving"])
def test_both_scores_of_a_stopped_training_are_one_for_good_parts(
    parts: Path, untrained: Path, tmp_path: Path, kind: str, centre: str
) -> None:
    """Whenever it is stopped: also while L2 alone is trained, and one epoch after it."""
    good = split_good(read_parts(parts).train).validation
    losses = LossConfig(alone=0.3, centre=centre, pull=0.01, smoothness=0.001)
    for epoch, model in enumerate(stopped(parts, untrained, tmp_path, SMALL[kind], losses, 8), 1):
        seen = model.look(torch.from_numpy(pictures(good, model.config.spec)))
        l1, l2 = (float(score.mean()) for score in model.two_scores(seen))
        assert float(model.lambdas[0]) * l1 == pytest.approx(1, abs=0.1), f"L1 after epoch {epoch}"
        assert float(model.lambdas[1]) * l2 == pytest.approx(1, abs=0.1), f"L2 after epoch {epoch}"
        assert model.centre.any(), f"no centre after epoch {epoch}"


@pytest.mark.parametrize("kind", SMALL)
def test_spectral_layers_of_a_stopped_training_have_norm_one(
    parts: Path, untrained: Path, tmp_path: Path, kind: str
) -> None:
    """Whenever it is stopped, no layer of the decoder lengthens a difference."""
    network = replace(SMALL[kind], spectral=True)
    for model in stopped(parts, untrained, tmp_path, network, LossConfig(jacobian="none", pull=0.01), 4):
        layers = [layer for layer in model.fold().decoder if isinstance(layer, torch.nn.Conv2d)]
        norms = [float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)) for layer in layers]
        assert norms == pytest.approx([1] * network.decoder_layers, abs=1e-4)


@pytest.mark.parametrize("epochs", [1, 8])
def test_a_short_training_has_all_losses(
    parts: Path, untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs: int
) -> None:
    """However few its epochs, the last one draws the codes to their centre and makes the decoder smooth."""
    seen: list[Losses] = []
    losses = AutoencoderTask.losses

    def noted(task: AutoencoderTask, batch: object) -> Losses:
        seen.append(losses(task, batch))
        return seen[-1]

    monkeypatch.setattr(AutoencoderTask, "losses", noted)
    training = TrainConfig(epochs=epochs, rate=1e-3, bf16=False)
    train_autoencoder(parts, tmp_path, network=SMALL["features"], training=training, weights=untrained)
    assert float(seen[-1].l1.detach()) > 0
    assert float(seen[-1].l3.detach()) > 0
