"""`trt-build train`: what each method is told on the command line, and which options it refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")
pytest.importorskip("safetensors", reason="needs safetensors, which only building models uses")

from drafts import part  # noqa: E402

from edge.bundle import read_draft  # noqa: E402
from trt_build.commands.train import shared, train  # noqa: E402
from trt_build.methods.autoencoder.network import AutoencoderConfig  # noqa: E402
from trt_build.methods.checkpoint import CHECKPOINT, load  # noqa: E402
from trt_build.methods.gaussian.network import GaussianConfig  # noqa: E402
from trt_build.methods.pfm.network import PFMConfig  # noqa: E402
from trt_build.methods.stpm.network import STPMConfig  # noqa: E402
from trt_build.methods.table import METHODS  # noqa: E402
from trt_build.methods.trained import load_trained  # noqa: E402

pytestmark = pytest.mark.usefixtures("nowhere")
Run = Callable[..., tuple[int, str, str]]
ANOMALY = ("autoencoder", "stpm", "pfm", "gaussian")
#: What makes a training of each method short; that with Gaussians has no epochs.
SHORT: dict[str, tuple[str, ...]] = {"gaussian": ()}


ONE_EPOCH = ("--epochs", "1")


def test_each_method_can_be_trained() -> None:
    """A method that is added to the table gets its own command and its own options."""
    assert {command.callback.__name__ for command in train.registered_commands if command.callback} == {
        *METHODS
    }


@pytest.mark.parametrize(
    ("method", "options", "said"),
    [
        ("autoencoder", ("--second", "resnet18"), "No such option: --second"),
        ("comparator", ("--backbone", "resnet18"), "No such option: --backbone"),
        ("stpm", ("--position",), "No such option: --position"),
        ("stpm", ("--second-widths", "32,64"), "three numbers of channels such as 32,64,128, found '32,64'"),
        ("gaussian", ("--epochs", "2"), "No such option: --epochs"),
        ("matcher", ("--mixed-sizes",), "No such option: --mixed-sizes"),
        ("stpm", ("--size", "250"), "expected a width and a height such as 384x256"),
        ("pfm", ("--size", "0"), "in multiples of 32 pixels, found '0'"),
        ("stpm", ("--tiles", "3"), "expected columns and rows such as 3x2, at most 64 tiles in all, found '3'"),
        ("autoencoder", ("--tiles", "9x9"), "at most 64 tiles in all, found '9x9'"),
        ("pfm", ("--tiles", "2x1", "--position"), "a place's position in its tile says nothing"),
        ("gaussian", ("--tiles", "2x1"), "No such option: --tiles"),
        ("autoencoder", ("--size", "384x"), "in multiples of 32 pixels, found '384x'"),
        ("stpm", ("--second", "efficientnet_lite2"), "different networks, found efficientnet_lite2 as both"),
        ("stpm", ("--backbone", "resnet18", "--second", "resnet18"), "found resnet18 as both"),
        ("pfm", ("--backbone", "efficientnet_lite0"), "different networks, found efficientnet_lite0 as both"),
        ("pfm", ("--second", "efficientnet_lite2"), "different networks, found efficientnet_lite2 as both"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    trt_build: Run, part_folder: Path, tmp_path: Path, method: str, options: tuple[str, ...], said: str
) -> None:
    """Whoever asks for what a method has not, or for one teacher twice, reads so before pictures are read."""
    status, _, err = trt_build("train", method, part_folder, tmp_path / "run", *options)
    assert status == 2
    assert said in " ".join(err.replace("│", " ").split())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("method", ["stpm", "pfm", "autoencoder"])
def test_pictures_are_cut_into_the_tiles_that_are_asked_for(
    trt_build: Run, tmp_path: Path, small: None, method: str
) -> None:
    """The draft says so, so that a line cuts parts alike; pictures that are too small for it are refused."""
    for number in range(30):
        path = tmp_path / f"parts/train/good/{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.tile(part(number), (4, 6, 1))[:112, :160])
    asked = ("--size", "64", *SHORT.get(method, ONE_EPOCH))
    command = ("train", method, tmp_path / "parts", tmp_path / "run", *asked, "--tiles")
    status, _, said = trt_build(*command, "3x3")
    assert status == 1
    assert "is 160x112, smaller than 3x3 tiles of 64x64, 160x160: train with fewer" in said
    status, _, said = trt_build(*command, "3x2")
    assert status == 0, said
    status, _, said = trt_build("export", tmp_path / "run" / CHECKPOINT, tmp_path / "draft")
    assert status == 0, said
    manifest = read_draft(tmp_path / "draft").manifest
    assert (manifest.tiles, manifest.picture.shape) == ((3, 2), (1, 3, 112, 160))
    assert manifest.answers["map"][2:] == (112 // manifest.stride, 160 // manifest.stride)


@pytest.mark.parametrize("method", ANOMALY)
def test_pictures_get_the_size_that_is_asked_for(
    trt_build: Run, part_folder: Path, tmp_path: Path, small: None, method: str
) -> None:
    """Width first, as cameras say it."""
    status, _, said = trt_build(
        "train", method, part_folder, tmp_path, "--size", "96x64", *SHORT.get(method, ONE_EPOCH)
    )
    assert status == 0, said
    network = load_trained(tmp_path / CHECKPOINT).network
    assert (network.config.width, network.config.height) == (96, 64)
    score, map_ = network(torch.zeros(1, 3, 64, 96, dtype=torch.uint8))
    assert score.shape == (1,)
    assert map_.shape[2] * 96 == map_.shape[3] * 64


SMALL: dict[str, Callable[..., object]] = {
    "autoencoder.network.AutoencoderConfig": partial(AutoencoderConfig, height=64, width=64, hidden=16),
    "stpm.network.STPMConfig": partial(STPMConfig, height=64, width=64, stem=8, widths=(8, 12, 16)),
    "pfm.network.PFMConfig": partial(PFMConfig, height=64, width=64, strides=(16,), latents=(8,)),
    "gaussian.network.GaussianConfig": partial(GaussianConfig, height=64, width=64),
}


@pytest.fixture
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """On a busy machine two threads mostly wait for each other."""
    threads = torch.get_num_threads()
    monkeypatch.setattr(shared, "usable_cores", lambda: 1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, _one_thread: None) -> None:
    """Pictures of 64 pixels and little to learn, on the backbones that each method takes."""
    for name, config in SMALL.items():
        monkeypatch.setattr(f"trt_build.methods.{name}", config)


OWN = {
    "autoencoder": {"backbone": "efficientnet_lite0"},
    "stpm": {"teacher": "efficientnet_lite2"},
    "pfm": {"first": "efficientnet_lite2", "second": "efficientnet_lite0"},
    "gaussian": {"backbone": "efficientnet_lite2"},
}


@pytest.mark.parametrize("method", ANOMALY)
def test_a_method_brings_its_own_backbone(
    trt_build: Run, part_folder: Path, tmp_path: Path, nowhere: Path, small: None, method: str
) -> None:
    """With the extra `build` a training needs no download and no option, and writes nothing but its run."""
    status, _, said = trt_build("train", method, part_folder, tmp_path / "run", *SHORT.get(method, ONE_EPOCH))
    assert status == 0, said
    assert list(nowhere.iterdir()) == []
    network = load(tmp_path / "run" / CHECKPOINT)["describe"]["config"]
    named = {key: network[key] for key in ("backbone", "teacher", "first", "second") if network.get(key)}
    assert named == OWN[method]


def test_pfm_is_told_where_a_place_lies(trt_build: Run, part_folder: Path, tmp_path: Path, small: None) -> None:
    """Where it is asked for on the command line, the trained model has codes of places."""
    for words, placed in (((), False), (("--position",), True)):
        run = tmp_path / str(placed)
        status, _, said = trt_build("train", "pfm", part_folder, run, "--epochs", "1", *words)
        assert status == 0, said
        assert all(level.placed is placed for level in load_trained(run / CHECKPOINT).network.levels)


def test_a_folder_of_another_training_is_refused(
    trt_build: Run, pcb_pairs: Path, tmp_path: Path, nowhere: Path
) -> None:
    """A network never goes on from the weights of one of another method."""
    torch.save({"weights": {}, "describe": {"model": "stpm"}, "epoch": 3}, tmp_path / CHECKPOINT)
    status, _, said = trt_build("train", "comparator", pcb_pairs, tmp_path)
    assert (status, said.count("\n")) == (1, 1)
    assert f"{tmp_path / CHECKPOINT}: of another training: expected {{'model': 'comparator'" in said
