"""Ctrl-C ends a training at any moment, and the same command ends with the weights it would have had."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")
pytest.importorskip("safetensors", reason="needs safetensors, which only building models uses")

from command import command  # noqa: E402

from trt_build.methods.checkpoint import CHECKPOINT, load  # noqa: E402
from trt_build.terminal.interrupt import keeping_ctrl_c  # noqa: E402

Train = Callable[..., tuple[int | None, str]]
EPOCHS = 3


@pytest.fixture(scope="module")
def train(part_folder: Path, untrained: Path) -> Train:
    """Runs `trt-build train` in a process that gets Ctrl-C at a moment; its status and what it said."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["trt_build.methods.autoencoder.train", "torch._dynamo"]  # what takes seconds to import
    )

    def run(folder: Path, moment: str | None = None) -> tuple[int | None, str]:
        said = folder.parent / "said.txt"
        said.unlink(missing_ok=True)
        words = ["train", "autoencoder", str(part_folder), str(folder), "--epochs", str(EPOCHS)]
        process = context.Process(target=command, args=(words, untrained, said, moment))
        process.start()
        process.join()
        return process.exitcode, said.read_text()

    return run


@pytest.fixture(scope="module")
def whole(train: Train, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights of a training that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    status, said = train(folder)
    assert status == 0, said
    weights: dict[str, torch.Tensor] = load(folder / CHECKPOINT)["weights"]
    return weights


def epochs_in(folder: Path) -> int:
    return int(load(folder / CHECKPOINT)["epoch"]) if (folder / CHECKPOINT).exists() else 0


def assert_goes_on(train: Train, folder: Path, whole: dict[str, torch.Tensor]) -> None:
    """What a stopped training left is whole or nothing, and the same command ends as if it had not been."""
    assert {path.name for path in folder.glob("*")} <= {CHECKPOINT, "progress.jsonl"}
    if epochs_in(folder):
        assert len((folder / "progress.jsonl").read_text().splitlines()) == epochs_in(folder)
    status, said = train(folder)
    assert status == 0, said
    weights = load(folder / CHECKPOINT)["weights"]
    assert all(torch.equal(value, whole[name]) for name, value in weights.items())


def test_ctrl_c_waits_for_the_end_of_a_step() -> None:
    """It comes where one asks for it, a second one at once, and afterwards all is as it was."""
    with keeping_ctrl_c() as stop_if_asked:
        stop_if_asked()
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            stop_if_asked()
    with keeping_ctrl_c():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_answer_to_ctrl_c_is_left_alone() -> None:
    """A run in the background, to which Ctrl-C says nothing, goes on."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with keeping_ctrl_c() as stop_if_asked:
            os.kill(os.getpid(), signal.SIGINT)
            stop_if_asked()
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("moment", "kept"),
    [("looking at pictures", 0), ("before a step", 2), ("writing a checkpoint", 2), ("noting progress", 2)],
)
def test_a_stopped_training_goes_on(
    train: Train, tmp_path: Path, whole: dict[str, torch.Tensor], moment: str, kept: int
) -> None:
    """One line instead of a traceback, the status that a shell knows, and all full epochs; then it goes on."""
    status, said = train(tmp_path / "run", moment)
    assert (status, said.splitlines()[-1].split(";")[0]) == (130, "stopped")
    assert "Traceback" not in said
    assert epochs_in(tmp_path / "run") == kept
    assert_goes_on(train, tmp_path / "run", whole)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_training_can_be_stopped_at_any_moment(
    train: Train, tmp_path: Path, part_folder: Path, untrained: Path, whole: dict[str, torch.Tensor]
) -> None:
    """Real processes, interrupted after times drawn by chance, again and again."""
    said, folder = tmp_path / "said.txt", tmp_path / "run"
    words = ["train", "autoencoder", str(part_folder), str(folder), "--epochs", str(EPOCHS)]
    support = Path(__file__).parents[2] / "support"
    script = (
        f"import sys; sys.path.insert(0, {str(support)!r})\n"
        "from pathlib import Path; from command import command\n"
        f"command({words!r}, Path({str(untrained)!r}), Path({str(said)!r}))"
    )
    chance = random.Random(0)
    for _ in range(12):
        said.unlink(missing_ok=True)
        process = subprocess.Popen([sys.executable, "-c", script])
        while process.poll() is None and not (said.exists() and said.read_text()):
            time.sleep(0.01)  # between two looks for the first word
        time.sleep(chance.uniform(0, 5))  # the moment drawn by chance
        process.send_signal(signal.SIGINT)
        status, text = process.wait(60), said.read_text()
        assert "Traceback" not in text, text
        if status != 130:  # it was at its end, where Python no longer listens
            assert status in (0, -signal.SIGINT)
            assert epochs_in(folder) == EPOCHS
            shutil.rmtree(folder)
    assert_goes_on(train, folder, whole)
