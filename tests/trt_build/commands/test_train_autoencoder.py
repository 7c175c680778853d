"""`trt-build train autoencoder`: each option ends in the model or in its losses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")
pytest.importorskip("safetensors", reason="needs safetensors, which only building models uses")

from trt_build.commands.train import shared  # noqa: E402
from trt_build.methods.autoencoder import train as training  # noqa: E402
from trt_build.methods.autoencoder.network import PIXELS, AutoencoderConfig  # noqa: E402
from trt_build.methods.autoencoder.task import PIXEL_LOSSES, LossConfig  # noqa: E402
from trt_build.methods.checkpoint import CHECKPOINT, load  # noqa: E402
from trt_build.methods.trained import load_trained  # noqa: E402

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def asked(
    trt_build: Run, part_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """What the command with these words asks of the training, which does not run."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(training, "train_autoencoder", lambda data, run, **options: found.update(options))

    def run(*words: str) -> dict[str, Any]:
        status, _, said = trt_build("train", "autoencoder", part_folder, tmp_path, *words)
        assert status == 0, said
        return found

    return run


@pytest.mark.parametrize(
    ("words", "network", "losses"),
    [
        ((), AutoencoderConfig(), LossConfig()),
        (("--input", "pixels"), PIXELS, PIXEL_LOSSES),
    ],
)
def test_each_input_has_its_own_defaults(
    asked: Callable[..., dict[str, Any]], words: tuple[str, ...], network: object, losses: object
) -> None:
    """Whoever names no option gets what suits features or pixels."""
    found = asked(*words)
    assert (found["network"], found["loss_config"]) == (network, losses)


@pytest.mark.parametrize(
    ("words", "holder", "field", "value"),
    [
        ("--code 5", "network", "code", 5),
        ("--decoder-layers 3", "network", "decoder_layers", 3),
        ("--distance ssim", "network", "distance", "ssim"),
        ("--spectral", "network", "spectral", True),
        ("--backbone resnet18", "network", "backbone", "resnet18"),
        ("--size 384x256", "network", "width", 384),
        ("--centre moving", "loss_config", "centre", "moving"),
        ("--pull 0.5", "loss_config", "pull", 0.5),
        ("--smoothness exact", "loss_config", "jacobian", "exact"),
        ("--smoothness none", "loss_config", "jacobian", "none"),
        ("--smoothness-weight 0.2", "loss_config", "smoothness", 0.2),
        ("--epochs 7", "training", "epochs", 7),
        ("--seed 3", "training", "seed", 3),
    ],
)
def test_an_option_changes_what_it_names(
    asked: Callable[..., dict[str, Any]], words: str, holder: str, field: str, value: object
) -> None:
    """And nothing else: all other fields keep their defaults."""
    plain = dict(asked())
    found = asked(*words.split())
    changed = {
        (name, key)
        for name in ("network", "loss_config", "training")
        for key in vars(plain[name])
        if getattr(plain[name], key) != getattr(found[name], key)
    }
    assert changed == {(holder, field)}
    assert getattr(found[holder], field) == value


def test_an_autoencoder_of_pixels_is_trained_with_all_options(
    trt_build: Run, part_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves a checkpoint that can be loaded, and that tells how it was trained."""
    monkeypatch.setattr(shared, "usable_cores", lambda: 1)
    words = "--input pixels --size 32 --code 6 --decoder-layers 3 --distance both --spectral --epochs 1"
    words += " --smoothness reverse --centre moving"
    status, _, said = trt_build("train", "autoencoder", part_folder, tmp_path, *words.split())
    assert status == 0, said
    described = load(tmp_path / CHECKPOINT)["describe"]
    assert described["losses"]["jacobian"] == "reverse"
    network = load_trained(tmp_path / CHECKPOINT).network
    assert network.backbone is None
    score, map_ = network(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    assert (score.shape, map_.shape) == ((2,), (2, 1, 8, 8))


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        ("--input pixels --backbone resnet18", 2, "not used with --input pixels: leave it out"),
        ("--input pixels --decoder-layers 1", 1, "--decoder-layers: expected 2 to 6 if the input is pixels"),
        ("--decoder-layers 9", 1, "--decoder-layers: expected 1 to 8 if the input is features"),
        ("--smoothness forwards", 2, "forwards"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    trt_build: Run, part_folder: Path, tmp_path: Path, words: str, status: int, expected: str
) -> None:
    """The error names the option, before anything is written."""
    found, _, said = trt_build("train", "autoencoder", part_folder, tmp_path / "run", *words.split())
    assert found == status
    assert expected in " ".join(said.replace("│", " ").split())
    assert not (tmp_path / "run").exists()
