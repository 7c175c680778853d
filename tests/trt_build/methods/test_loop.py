"""Training learns, survives what may happen to it, and leaves what can be used."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")

from training import CONFIG, Line, run  # noqa: E402

from edge.render.defects import KINDS  # noqa: E402
from trt_build.data.pairs import Pair  # noqa: E402
from trt_build.figures.boards import choose_thresholds, draw_worst, figures, find_all  # noqa: E402
from trt_build.methods.checkpoint import CHECKPOINT, CheckpointError, TrainingError, load  # noqa: E402
from trt_build.methods.comparator.augment import Augmentation  # noqa: E402
from trt_build.methods.comparator.network import Comparator, ComparatorConfig  # noqa: E402
from trt_build.methods.comparator.train import ComparatorTask, torch_judge  # noqa: E402
from trt_build.methods.loop import TrainConfig, fit  # noqa: E402
from trt_build.methods.optimiser import rate_at  # noqa: E402
from trt_build.methods.trained import load_trained  # noqa: E402


def weights(folder: Path) -> list[float]:
    return [float(value) for value in load(folder / CHECKPOINT)["weights"].values()]


def test_a_run_that_is_killed_ends_as_if_it_had_not_been(tmp_path: Path):
    """After kill -9 the same command goes on from the last full epoch, to the same weights."""
    run(tmp_path / "whole")
    process = multiprocessing.get_context("spawn").Process(target=run, args=(tmp_path / "killed", 3))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert load(tmp_path / "killed" / CHECKPOINT)["epoch"] == 3
    run(tmp_path / "killed")
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")


class Heavy(Line):
    """With a checkpoint of many pages."""

    def __init__(self) -> None:
        super().__init__()
        self.model.register_buffer("ballast", torch.ones(200, 200))


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path):
    """The error names the file; the last good checkpoint stays, alone, and with room the training goes on."""
    fit(Heavy(), tmp_path / "full", replace(CONFIG, epochs=2), describe={})
    before = (tmp_path / "full" / CHECKPOINT).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(
            TrainingError, match=r"checkpoint\.pt: cannot be written: File too large: make room"
        ):
            fit(Heavy(), tmp_path / "full", CONFIG, describe={})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "full" / CHECKPOINT).read_bytes() == before
    assert {path.name for path in (tmp_path / "full").iterdir()} == {CHECKPOINT, "progress.jsonl"}
    assert fit(Heavy(), tmp_path / "full", CONFIG, describe={}) == CONFIG.epochs


class Derived(Line):
    """With a number that is derived from the weights, and a constant."""

    def __init__(self, die_at: int | None = None) -> None:
        super().__init__(die_at)
        self.model.register_buffer("doubled", torch.zeros(1, 1))
        self.model.register_buffer("constant", torch.tensor([0.1]))

    def settle(self, model: torch.nn.Module) -> None:
        model.doubled.copy_(2 * model.weight)


def test_every_checkpoint_is_settled(tmp_path: Path):
    """Wherever a training is stopped, what its network derives from the weights fits the weights."""
    for epochs in range(1, CONFIG.epochs + 1):
        folder = tmp_path / str(epochs)
        fit(Derived(), folder, replace(CONFIG, epochs=epochs, check_every=100), describe={})
        found = load(folder / CHECKPOINT)["weights"]
        assert found["doubled"] == 2 * found["weight"]
        assert found["constant"] == torch.tensor([0.1])


def test_pictures_that_fill_no_batch_are_refused(tmp_path: Path):
    """No checkpoint of a network that has learned nothing, nor a folder for one."""

    class Few(Line):
        def batches(self, epoch: int) -> list[torch.Tensor]:
            return []

    with pytest.raises(TrainingError, match=r"run: not trained: .* do not fill a batch: give more"):
        fit(Few(), tmp_path / "run", CONFIG, describe={})
    assert not (tmp_path / "run").exists()


def test_another_trainings_folder_is_refused(tmp_path: Path):
    """A network never goes on from another one's weights, and those stay."""
    run(tmp_path)
    before = (tmp_path / CHECKPOINT).read_bytes()
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt: of another training: .*'line'.*another folder"):
        fit(Line(), tmp_path, replace(CONFIG, epochs=9), describe={"model": "curve"})
    assert (tmp_path / CHECKPOINT).read_bytes() == before


@pytest.mark.parametrize("content", ["text", "empty", "cut", "code", "weights alone"])
def test_what_is_no_checkpoint_is_one_clear_line(tmp_path: Path, content: str):
    """It names the file, and does not pass on advice to run the code that may hide in it."""
    path = tmp_path / "model.pt"
    torch.save({"code": os.mkdir}.get(content, {"weights": torch.zeros(999)}), path)
    if content in ("text", "empty"):
        path.write_text("no checkpoint" * (content == "text"))
    elif content == "cut":
        path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(CheckpointError) as error:
        load(path)
    assert (
        str(error.value)
        == f"{path}: not a checkpoint, or cut short: expected the checkpoint.pt that a training wrote"
    )


def test_interrupting_keeps_what_was_learned(tmp_path: Path):
    """Ctrl-C ends the run at once, with the last full epoch on disk."""

    class Interrupted(Line):
        def batches(self, epoch: int) -> list[torch.Tensor]:
            if epoch == 2:
                raise KeyboardInterrupt
            return super().batches(epoch)

    with pytest.raises(KeyboardInterrupt):
        fit(Interrupted(), tmp_path, CONFIG, describe={})
    assert load(tmp_path / CHECKPOINT)["epoch"] == 2


def test_progress_can_be_read_from_a_file(tmp_path: Path):
    """One line an epoch, with the loss, the time it took and the figures on held-out data."""
    run(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[-1]["at_one"] == pytest.approx(3, abs=0.2)
    assert lines[-1]["loss"] < lines[0]["loss"] / 10


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path):
    """A diverged run ends with a reason instead of saving weights that are NaN."""

    class Diverging(Line):
        def loss(self, batch: torch.Tensor) -> torch.Tensor:
            return super().loss(batch) * float("inf")

    with pytest.raises(TrainingError, match=r"loss is inf in epoch 1, step 1; lower the rate"):
        fit(Diverging(), tmp_path, CONFIG, describe={})
    assert not (tmp_path / CHECKPOINT).exists()


def test_sgd_learns_as_well(tmp_path: Path):
    """Methods whose papers trained with momentum are trained so, and go on so after a stop."""
    config = replace(CONFIG, optimiser="sgd")
    fit(Line(), tmp_path / "whole", config, describe={})
    fit(Line(), tmp_path / "stopped", replace(config, epochs=3, cool_down=0.25), describe={})
    momentum = load(tmp_path / "stopped" / CHECKPOINT)["optimiser"]["state"]
    assert all("momentum_buffer" in state for state in momentum.values())
    line = json.loads((tmp_path / "whole/progress.jsonl").read_text().splitlines()[-1])
    assert line["at_one"] == pytest.approx(3, abs=0.2)


class Rising(Line):
    """With a figure that falls and then rises: the distance of the weight from 1.5 on its way to 2."""

    def check(self, model: torch.nn.Module) -> dict[str, float]:
        return {"far": abs(float(model.weight) - 1.5)}


def test_the_best_epoch_is_kept(tmp_path: Path):
    """The checkpoint judges with the weights of the lowest figure, and goes on from those of the last epoch."""
    config = replace(CONFIG, keep_lowest="far")
    fit(Rising(), tmp_path / "last", CONFIG, describe={})
    fit(Rising(), tmp_path / "best", config, describe={})
    fit(Rising(), tmp_path / "stopped", replace(config, epochs=4, cool_down=0.25), describe={})
    far = [json.loads(line)["far"] for line in (tmp_path / "best/progress.jsonl").read_text().splitlines()]
    assert min(far) < far[-1]
    best, last = (load(tmp_path / name / CHECKPOINT) for name in ("best", "last"))
    assert abs(float(best["weights"]["weight"]) - 1.5) == pytest.approx(min(far), abs=1e-4)
    assert torch.equal(best["averaged"]["weight"], last["weights"]["weight"])


def test_a_training_stops_when_its_figure_is_flat(tmp_path: Path):
    """Not before the epoch that is given; a run that was stopped meanwhile ends in the same epoch."""
    config = replace(CONFIG, epochs=60, keep_lowest="far", cool_down=0)
    far = [1.0] * 60
    far[3], far[19] = 0.5, 0.4

    class Known(Line):
        def check(self, model: torch.nn.Module) -> dict[str, float]:
            return {"far": far.pop(0)}

    assert fit(Known(), tmp_path / "run", replace(config, stop_from=12, epochs=9), describe={}) == 9
    assert fit(Known(), tmp_path / "run", replace(config, stop_from=12), describe={}) == 14
    assert load(tmp_path / "run" / CHECKPOINT)["epoch"] == 14
    assert fit(Known(), tmp_path / "run", replace(config, stop_from=12), describe={}) == 14
    assert fit(Known(), tmp_path / "run", replace(config, stop_from=25), describe={}) == 30


def test_frozen_weights_stay_as_they_are(tmp_path: Path):
    """A pre-trained part of a network is in the checkpoint to the last bit, without an optimiser's share."""

    class Tail(Line):
        def __init__(self) -> None:
            super().__init__()
            frozen = torch.nn.Linear(1, 1).requires_grad_(False)
            self.model = torch.nn.Sequential(frozen, self.model)

    task = Tail()
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    fit(task, tmp_path, replace(CONFIG, decay=0.5), describe={})
    state = load(tmp_path / CHECKPOINT)
    for name, value in before.items():
        assert torch.equal(state["weights"][name], value) == name.startswith("0.")
    assert sum(len(group["params"]) for group in state["optimiser"]["param_groups"]) == 2


def test_the_rate_rises_stays_and_falls():
    """The learning rate warms up, is level, and ends near nothing."""
    assert [rate_at(at, 0.1, 0.5) for at in (0.05, 0.1, 0.4, 0.5, 0.75)] == pytest.approx([0.5, 1, 1, 1, 0.5])
    assert rate_at(1.0, 0.1, 0.5) < 0.01


def spots(count: int, seed: int) -> list[Pair]:
    """Grey boards of 128x128, each with one black spot of 16x16 pixels that its master lacks."""
    rng = np.random.default_rng(seed)
    pairs = []
    for i in range(count):
        master = np.full((128, 128), 200, np.uint8)
        master[:, 60:68] = 90
        board = master.copy()
        x, y = (int(v) for v in rng.integers(4, 108, 2))
        board[y : y + 16, x : x + 16] = 0
        box = np.array([[x, y, x + 16, y + 16]], np.float32)
        pairs.append(Pair(name=f"{i}", master=master, board=board, boxes=box, kinds=np.array([4])))
    return pairs


@pytest.fixture(scope="module")
def spot_task(tmp_path_factory: pytest.TempPathFactory) -> tuple[ComparatorTask, Path]:
    """A tiny comparator trained for some seconds."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("spots")
    plain = Augmentation(size_px=96, scale=(1, 1), margin_px=0, clean=0.1, jpeg=0, grey=0.5, noise=0)
    network = ComparatorConfig(kinds=tuple("abcdef"), stem=8, widths=(8, 16, 16, 16), blocks=(0, 0, 0, 0))
    task = ComparatorTask(
        model=Comparator(network),
        pairs=spots(16, 0),
        held_out=spots(8, 1),
        augmentation=plain,
        batch=8,
        ahead=0,
    )
    describe = {"model": "comparator", "config": asdict(network)}
    fit(task, folder, TrainConfig(epochs=48, rate=5e-3, average=0.9, check_every=48), describe=describe)
    return task, folder


def test_a_few_seconds_of_training_find_the_spots(spot_task: tuple[ComparatorTask, Path]):
    """The comparator really learns: on boards it has not seen it finds what differs from the master."""
    lines = [json.loads(line) for line in (spot_task[1] / "progress.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < lines[0]["loss"] / 2
    assert lines[-1]["map33"] * 6 > 90  # one kind of six occurs


def test_what_was_found_can_be_looked_at(spot_task: tuple[ComparatorTask, Path], tmp_path: Path):
    """Escapes and overkills are drawn beside the master, and thresholds are given for every kind."""
    task, folder = spot_task
    found = find_all(torch_judge(load_trained(folder / CHECKPOINT).network), task.held_out, KINDS)
    assert set(choose_thresholds(task.held_out, found, KINDS)) == set(KINDS)
    pictures = draw_worst(task.held_out, found, KINDS, tmp_path, cut=2.0, count=3)
    assert [p.name for p in pictures] == [f"{i}_escaped1_overkill0.png" for i in range(3)]
    assert figures(task.held_out, found, KINDS, cut=2.0)["recall"] == 0
