"""The options of `trt-build train comparator` reach its network and its training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs torch, which only building models uses")

from trt_build.methods.comparator import train
from trt_build.methods.comparator.augment import Augmentation
from trt_build.methods.comparator.train import TRAINING, ComparatorTask
from trt_build.methods.loop import TrainConfig

Run = Callable[..., tuple[int, str, str]]
Asked = tuple[ComparatorTask, TrainConfig, Mapping[str, Any]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """What the training loop was asked to do, instead of doing it."""
    asked: list[Asked] = []

    def fit(task: ComparatorTask, _: Path, config: TrainConfig, *, describe: Mapping[str, Any]) -> int:
        asked.append((task, config, describe))
        return config.epochs

    monkeypatch.setattr(train, "fit", fit)
    return asked


def test_every_option_reaches_its_place(trt_build: Run, pcb_pairs: Path, tmp_path: Path, asked: list[Asked]):
    """Pictures and boxes are scaled to the size; epochs and seed go to the training."""
    assert (
        trt_build("train", "comparator", pcb_pairs, tmp_path, "--size", "96x32", "--epochs", 3, "--seed", 5)[0]
        == 0
    )
    ((task, config, describe),) = asked
    assert (config.epochs, config.seed, task.seed) == (3, 5, 5)
    assert (describe["config"]["width"], describe["config"]["height"]) == (96, 32)
    assert {pair.board.shape for pair in (*task.pairs, *task.held_out)} == {(32, 96)}
    left, top, right, bottom = task.pairs[0].boxes[0]
    assert (right - left, bottom - top) == (6, 2)


def test_without_options_boards_are_trained_as_they_are(
    trt_build: Run, pcb_pairs: Path, tmp_path: Path, asked: list[Asked]
):
    """The pictures keep their size, and one crop of each pair is an epoch."""
    assert trt_build("train", "comparator", pcb_pairs, tmp_path)[0] == 0
    ((task, config, describe),) = asked
    assert (config, task.crops, task.augmentation) == (TRAINING, 1, Augmentation())
    network = describe["config"]
    assert (network["width"], network["height"], network["extents"]) == (64, 64, True)


def test_a_size_that_the_network_cannot_take_is_refused(trt_build: Run, pcb_pairs: Path, tmp_path: Path):
    """Before anything is read."""
    status, _, said = trt_build("train", "comparator", pcb_pairs, tmp_path / "run", "--size", "100")
    assert status == 2
    assert "multiples of 32" in " ".join(said.replace("│", " ").split())
