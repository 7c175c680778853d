"""`trt-build train`: what it refuses before it spends an hour on it, in one line that says what to do."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")
pytest.importorskip("safetensors", reason="needs safetensors, which only building models uses")

from drafts import part, write_products  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from edge.bundle import read_draft  # noqa: E402
from trt_build.backbones.open import build_backbone  # noqa: E402
from trt_build.backbones.published import PUBLISHED, cache_folder  # noqa: E402
from trt_build.commands.train import shared, train  # noqa: E402
from trt_build.methods.autoencoder.network import AutoencoderConfig  # noqa: E402
from trt_build.methods.checkpoint import CHECKPOINT, load  # noqa: E402
from trt_build.methods.gaussian.network import GaussianConfig  # noqa: E402
from trt_build.methods.pfm.network import PFMConfig  # noqa: E402
from trt_build.methods.stpm.network import STPMConfig  # noqa: E402
from trt_build.methods.table import METHODS  # noqa: E402
from trt_build.methods.trained import load_trained  # noqa: E402

Run = Callable[..., tuple[int, str, str]]
RESNET = PUBLISHED["resnet18"]
ANOMALY = ("autoencoder", "stpm", "pfm", "gaussian")
#: What makes a training of each method short; that with Gaussians has no epochs.
SHORT: dict[str, tuple[str, ...]] = {"gaussian": ()}
ONE_EPOCH = ("--epochs", "1")


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that holds no weights; where the user's would lie."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("EDGE_DATA", raising=False)
    cache_folder().mkdir(parents=True)
    return cache_folder()


@pytest.fixture
def refused(trt_build: Run, tmp_path: Path) -> Callable[..., str]:
    """Runs `trt-build train` with what it cannot take; the one line that it says."""

    def run(method: str, data: Path, *options: str) -> str:
        status, _, said = trt_build("train", method, data, tmp_path / "run", *options)
        assert (status, said.count("\n")) == (1, 1), said
        assert said.startswith("trt-build: ")
        assert not (tmp_path / "run").exists()
        return said

    return run


@pytest.fixture
def parts(part_folder: Path, tmp_path: Path) -> Path:
    """Parts that a test may damage."""
    return Path(shutil.copytree(part_folder, tmp_path / "parts"))


def _few(parts: Path) -> None:
    for path in sorted((parts / "train/good").iterdir())[2:]:
        path.unlink()


def _small_mask(parts: Path) -> None:
    cv2.imwrite(str(parts / "ground_truth/spot/003_mask.png"), np.zeros((16, 16), np.uint8))


def _defective_in_training(parts: Path) -> None:
    (parts / "test/spot").rename(parts / "train/spot")
    shutil.rmtree(parts / "ground_truth")


DAMAGE = {
    "no good ones": lambda parts: shutil.rmtree(parts / "train"),
    "few": _few,
    "unreadable": lambda parts: (parts / "train/good/007.png").write_bytes(b"no picture"),
    "two sizes": lambda parts: cv2.imwrite(str(parts / "train/good/007.png"), part(7)[:, :30]),
    "small mask": _small_mask,
    "defective in training": _defective_in_training,
    "without label": lambda parts: (parts / "train/good/007.png").rename(parts / "train/007.png"),
}


@pytest.mark.parametrize("method", ANOMALY)
@pytest.mark.parametrize(
    ("damage", "found", "remedy"),
    [
        ("no good ones", "train/good: expected pictures of good parts", "put them there"),
        ("few", "train/good: 2 good parts leave ", "150 would also set a threshold"),
        ("unreadable", "train/good/007.png: expected a picture", "take it out"),
        ("two sizes", "train/good/007.png: is 30x32, most pictures are 32x32", "--mixed-sizes"),
        ("small mask", "spot/003_mask.png: is 16x16, its picture 32x32", "draw the mask anew"),
        ("defective in training", "train/spot: only good parts are trained with", "move the folder to"),
        ("without label", "train/007.png: lies in no label's folder", "move it to"),
    ],
    ids=lambda value: value if value in DAMAGE else "",
)
def test_bad_pictures_of_parts_are_named(
    refused: Callable[..., str],
    parts: Path,
    method: str,
    damage: str,
    found: str,
    remedy: str,
) -> None:
    """Whatever the method: the file, what is wrong with it, and what to do."""
    DAMAGE[damage](parts)
    said = refused(method, parts)
    assert found in said
    assert remedy in said


def test_mixed_sizes_are_taken_where_that_is_meant(refused: Callable[..., str], parts: Path) -> None:
    """With the option that the error names, only the weights are still missing."""
    DAMAGE["two sizes"](parts)
    said = refused("stpm", parts, "--mixed-sizes", "--backbone", "mobilenet_v2")
    assert "mobilenet_v2: found no" in said


@pytest.mark.parametrize("method", ANOMALY)
def test_without_a_backbones_file_one_reads_how_to_go_on(
    refused: Callable[..., str], part_folder: Path, nowhere: Path, method: str
) -> None:
    """One that nobody gives out: the error names one that the extra brings, and where a file goes."""
    said = refused(method, part_folder, "--backbone", "mobilenet_v2")
    assert f"{PUBLISHED['mobilenet_v2'].file} in {nowhere}; put it into {nowhere}" in said
    assert "comes with the extra `build`: --backbone efficientnet_lite0" in said
    assert "trt-build fetch-backbone resnet18, or" in refused(method, part_folder, "--backbone", "resnet18")


@pytest.mark.parametrize("method", ANOMALY)
def test_an_altered_backbone_is_refused(
    refused: Callable[..., str], part_folder: Path, nowhere: Path, method: str
) -> None:
    """A download that was cut short is not half used."""
    (nowhere / RESNET.file).write_bytes(b"cut short")
    said = refused(method, part_folder, "--backbone", "resnet18")
    assert f"{RESNET.file}: expected a SHA-256 that begins with {RESNET.sha256}" in said
    assert "delete it, then get it with: trt-build fetch-backbone resnet18" in said


@pytest.mark.parametrize("method", ANOMALY)
def test_weights_of_another_network_are_refused(
    refused: Callable[..., str], part_folder: Path, nowhere: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Also where the file is what the table says it is."""
    path = nowhere / "other.safetensors"
    save_file(build_backbone("mobilenet_v1").network.state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(PUBLISHED, "resnet18", replace(RESNET, file=path.name, sha256=digest))
    said = refused(method, part_folder, "--backbone", "resnet18")
    assert "other.safetensors: not the weights of resnet18" in said


def test_an_unknown_backbone_is_refused(refused: Callable[..., str], part_folder: Path) -> None:
    """A slip of the pen costs one look."""
    said = refused("stpm", part_folder, "--backbone", "resnet19")
    assert "no backbone 'resnet19'; expected one of efficientnet_lite0, " in said


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


def _few_pairs(pairs: Path) -> None:
    for path in pairs.glob("[1-5]*"):
        path.unlink()


DAMAGED_PAIRS = {
    "wrong kind": lambda pairs: (pairs / "07.txt").write_text("4 4 8 8 9\n"),
    "half a pair": lambda pairs: (pairs / "07_temp.png").unlink(),
    "unreadable board": lambda pairs: (pairs / "07_test.png").write_bytes(b"no picture"),
    "few pairs": _few_pairs,
}


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        ("wrong kind", "07.txt:1: expected a type of 1..6, found 9"),
        ("half a pair", "07_temp.*: expected a picture"),
        ("unreadable board", "07_test.png: expected a picture"),
        ("few pairs", "expected at least 16 pairs to train with and one to measure by, found "),
    ],
    ids=lambda value: value if value in DAMAGED_PAIRS else "",
)
def test_bad_pairs_are_named(
    refused: Callable[..., str], pcb_pairs: Path, tmp_path: Path, damage: str, found: str
) -> None:
    """A comparator learns from whole pairs, and from enough of them to fill a batch."""
    pairs = Path(shutil.copytree(pcb_pairs, tmp_path / "pairs"))
    DAMAGED_PAIRS[damage](pairs)
    assert found in refused("comparator", pairs)


def test_too_few_products_are_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    """A matcher learns by telling many products apart, and by others how well it does."""
    products = write_products(tmp_path / "products", products=20, photos=1)
    assert "expected at least 64 products to train with and 2 to measure by, found " in refused(
        "matcher", products
    )


def test_a_matcher_trains_as_published(trt_build: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the branch of its source, on few products, for as long as was asked; its test loss is measured."""
    from trt_build.methods.matcher import network

    small = replace(network.SOURCE, widths=(4, 4, 4, 4), embedding=16)
    monkeypatch.setattr(network, "SOURCE", small)
    products, run = write_products(tmp_path / "products", products=20), tmp_path / "run"
    words = ("--as-published", "--epochs", "2", "--batch", "8", "--pairs-per-epoch", "24", "--stop-from", "1")
    status, _, said = trt_build("train", "matcher", products, run, *words)
    assert status == 0, said
    state = load(run / CHECKPOINT)
    assert state["describe"]["config"]["branch"] == "source"
    config = state["config"]
    assert (config["epochs"], config["stop_from"], config["rate"], config["decay"]) == (2, 1, 1e-4, 0)
    lines = [json.loads(line) for line in (run / "progress.jsonl").read_text().splitlines()]
    assert [line["rate"] for line in lines] == [1e-4, 1e-4]
    assert all(0.3 < line["test_loss"] < 1.4 for line in lines)


def test_a_matcher_of_letters_is_trained(
    trt_build: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its network lays the ink in the middle and compares place by place; the checkpoint says so."""
    from trt_build.methods.matcher import network

    small = replace(network.LETTERS, size=33, centred=24, widths=(4, 8), blocks=(0, 1))
    monkeypatch.setattr(network, "LETTERS", small)
    products, run = write_products(tmp_path / "products", products=20), tmp_path / "run"
    status, _, said = trt_build("train", "matcher", products, run, "--letters", "--epochs", "1", "--batch", "8")
    assert status == 0, said
    state = load(run / CHECKPOINT)
    assert (state["describe"]["config"]["head"], state["describe"]["config"]["centred"]) == ("map", 24)
    assert (state["config"]["rate"], state["config"]["epochs"]) == (3e-3, 1)


def test_letters_are_not_trained_as_published(trt_build: Run, tmp_path: Path) -> None:
    """Both options name a network."""
    words = ("--letters", "--as-published")
    status, _, said = trt_build("train", "matcher", tmp_path, tmp_path / "run", *words)
    assert status == 2
    assert "--letters: not with --as-published" in said


@pytest.mark.parametrize("option", ["--pairs-per-epoch", "--stop-from"])
def test_options_of_the_published_training_need_it(trt_build: Run, tmp_path: Path, option: str) -> None:
    """The error names the option and what it is for."""
    status, _, said = trt_build("train", "matcher", tmp_path, tmp_path / "run", option, "5")
    assert status == 2
    assert f"{option}: does nothing without --as-published" in said


def test_a_broken_picture_of_a_product_is_named(refused: Callable[..., str], tmp_path: Path) -> None:
    """Before anything is learned from the others."""
    products = write_products(tmp_path / "products", products=2, photos=1)
    (products / "product-01/photo-0.png").write_bytes(b"no picture")
    assert "product-01/photo-0.png: expected a picture" in refused("matcher", products)
