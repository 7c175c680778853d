from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.bundle import read_draft

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")


from trt_build.data.parts import pictures, read_parts, split_good  # noqa: E402
from trt_build.figures.ranking import image_auroc  # noqa: E402
from trt_build.graphs.fp32 import export_checkpoint  # noqa: E402
from trt_build.methods.checkpoint import CHECKPOINT, CheckpointError, load  # noqa: E402
from trt_build.methods.loop import TrainConfig  # noqa: E402
from trt_build.methods.pfm.network import PFM, PFMConfig  # noqa: E402
from trt_build.methods.pfm.train import PFMTask, _at, train_pfm  # noqa: E402
from trt_build.methods.trained import load_trained  # noqa: E402

MOBILE = {"first": "mobilenet_v2", "second": "mobilenet_v1"}
NETWORK = PFMConfig(**MOBILE, height=64, width=64, strides=(8, 16), latents=(8, 8))
SHORT = {"places": 256, "steps": 12}
TRAINING = TrainConfig(epochs=2, rate=3e-3, average=0.9, bf16=False)


@pytest.fixture(scope="module")
def trained(part_folder: Path, weights: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training of some seconds."""
    folder = tmp_path_factory.mktemp("pfm")
    assert train_pfm(part_folder, folder, network=NETWORK, training=TRAINING, weights=weights, **SHORT) == 2
    return folder


def test_a_few_seconds_of_training_find_the_spots(trained: Path, part_folder: Path):
    """The projections really learn: parts with a spot get higher scores than good ones."""
    model = load_trained(trained / CHECKPOINT).network
    tested = read_parts(part_folder).test
    with torch.inference_mode():
        score = model(torch.from_numpy(pictures(tested, NETWORK.spec)))[0].numpy()
    good = np.array([part.is_good for part in tested])
    assert image_auroc(score[good], score[~good]) > 0.9


def test_progress_tells_how_much_stays_unexplained(trained: Path):
    """The loss falls, and so does each level's share of what the two networks do not tell of each other."""
    lines = [json.loads(line) for line in (trained / "progress.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert 0 < lines[-1]["unexplained_8"] < lines[0]["unexplained_8"]
    assert 0 < lines[-1]["unexplained_16"] < lines[0]["unexplained_16"]


def test_a_checkpoint_needs_no_other_file(trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The backbones' weights travel with it."""
    monkeypatch.delenv("EDGE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model = load_trained(trained / CHECKPOINT).network
    assert not model.training
    assert model.config == NETWORK


def test_the_scale_is_in_the_checkpoint(trained: Path, part_folder: Path):
    """Held-out good parts are on the scale of normal ones: few of their cells are over 0.1."""
    model = load_trained(trained / CHECKPOINT).network
    validation = split_good(read_parts(part_folder).train).validation
    with torch.inference_mode():
        map_ = model(torch.from_numpy(pictures(validation, NETWORK.spec)))[1]
    assert float((map_ > 0.1).float().mean()) < 0.02


def test_each_checkpoint_has_the_scale_of_its_own_weights(
    part_folder: Path, weights: tuple[Path, Path], tmp_path: Path
):
    """A training that is stopped after any epoch leaves a model whose scale fits its maps of good parts."""

    class Copied(PFMTask):
        def batches(self, epoch: int):  # type: ignore[no-untyped-def]
            if epoch:
                shutil.copy(tmp_path / CHECKPOINT, tmp_path / f"after-{epoch}.pt")
            return super().batches(epoch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trt_build.methods.pfm.train.PFMTask", Copied)
        training = replace(TRAINING, epochs=3, check_every=3)
        train_pfm(part_folder, tmp_path, network=NETWORK, training=training, weights=weights, **SHORT)
    validation = split_good(read_parts(part_folder).train).validation
    for name in ("after-1.pt", "after-2.pt", CHECKPOINT):
        model = load_trained(tmp_path / name).network
        scales = (model.scored, model.shown)
        before = [value.clone() for scale in scales for value in (scale.low, scale.high)]
        with torch.inference_mode():
            features = model.look(torch.from_numpy(pictures(validation, NETWORK.spec)))
            model.fit_scale([model.whiten(features)])
        after = [value for scale in scales for value in (scale.low, scale.high)]
        torch.testing.assert_close(before, after, rtol=0.01, atol=0)


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(
    trained: Path, part_folder: Path, weights: tuple[Path, Path], tmp_path: Path
):
    """The same command goes on from the last full epoch, to the same weights."""
    folder = tmp_path / "stopped"

    class Stopped(PFMTask):
        def batches(self, epoch: int):  # type: ignore[no-untyped-def]
            if epoch == 1:
                raise KeyboardInterrupt
            return super().batches(epoch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trt_build.methods.pfm.train.PFMTask", Stopped)
        with pytest.raises(KeyboardInterrupt):
            train_pfm(part_folder, folder, network=NETWORK, training=TRAINING, weights=weights, **SHORT)
    assert load(folder / CHECKPOINT)["epoch"] == 1
    train_pfm(part_folder, folder, network=NETWORK, training=TRAINING, weights=weights, **SHORT)
    whole, resumed = (load(path / CHECKPOINT)["weights"] for path in (trained, folder))
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_places_are_read_where_they_lie():
    """A place's number leads to its picture, row and column."""
    features = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    picked = _at(features, torch.tensor([0, 7, 20 + 19]))
    assert picked.shape == (1, 3, 3, 1)
    expected = [features[0, :, 0, 0], features[0, :, 1, 2], features[1, :, 3, 4]]
    assert torch.equal(picked[0, :, :, 0].T, torch.stack(expected))


def test_epochs_differ_and_can_be_had_again():
    """An epoch has the same places each time it is asked for, another one others; each level has its own."""
    model = PFM(PFMConfig(**MOBILE, height=64, width=64, strides=(8, 16), latents=(4, 4)))
    shapes = (((3, 32, 8, 8), (3, 256, 8, 8)), ((3, 96, 4, 4), (3, 512, 4, 4)))
    seen = [(torch.zeros(first), torch.zeros(second)) for first, second in shapes]
    task = PFMTask(model=model, seen=seen, held_out=[], places=64, steps=2)
    one, again, other = ([step for step in task.batches(epoch)] for epoch in (0, 0, 1))
    assert len(one) == len(task.batches(0)) == 2
    for first, second in zip(one, again, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(one[0][0], other[0][0])
    assert [int(places.max()) < 3 * cells for places, cells in zip(one[0], (64, 16), strict=True)] == [
        True,
        True,
    ]


def test_what_a_mask_covers_is_neither_learned_nor_forgotten(
    part_folder: Path, weights: tuple[Path, Path], tmp_path: Path
):
    """Parts that differ only under it give the same weights, and the draft brings the mask.

    With another mask it is another training.
    """
    mask = np.zeros((32, 32), np.uint8)
    mask[4:12, 8:20] = 255
    learned = []
    for seed in range(2):
        folder = Path(shutil.copytree(part_folder, tmp_path / f"parts {seed}"))
        cv2.imwrite(str(folder / "ignore.png"), mask)
        for number, path in enumerate(sorted((folder / "train/good").iterdir())):
            picture = cv2.imread(str(path))
            rng = np.random.default_rng([seed, number])
            picture[mask > 0] = rng.integers(0, 256, ((mask > 0).sum(), 3))
            cv2.imwrite(str(path), picture)
        run = tmp_path / f"run {seed}"
        train_pfm(folder, run, network=NETWORK, training=TRAINING, weights=weights, places=64, steps=2)
        learned.append(load(run / CHECKPOINT)["weights"])
    assert all(torch.equal(learned[0][key], learned[1][key]) for key in learned[0])
    export_checkpoint(run / CHECKPOINT, tmp_path / "draft")
    ignored = read_draft(tmp_path / "draft").ignored()
    assert ignored.shape == (64, 64)
    assert ignored[8:24, 16:40].all()
    assert not ignored[26:].any()
    mask[0] = 255
    cv2.imwrite(str(folder / "ignore.png"), mask)
    with pytest.raises(CheckpointError, match=r"of another training: expected .*'ignored': '[0-9a-f]{8}'"):
        train_pfm(folder, run, network=NETWORK, training=TRAINING, weights=weights, places=64, steps=2)
