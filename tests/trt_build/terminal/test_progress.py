"""Long work says how far it is: in bars on a terminal, in lines where nobody looks on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.bundle import read_model
from edge.engines import processor
from edge.recipe import EngineChoice
from trt_build.data import cases
from trt_build.methods.stpm.method import METHOD as parts
from trt_build.terminal import progress

Run = Callable[..., tuple[int, str, str]]

COUNTED = (
    "from trt_build.terminal.progress import counted\n"
    "for _ in counted(range(300), 'judging'): time.sleep(0.005)\n"
)


def script(*lines: str, every_s: float) -> list[str]:
    """A process whose progress is told so often."""
    begin = f"import time\nfrom trt_build.terminal import progress\nprogress.EVERY_S = {every_s}\n"
    return [sys.executable, "-c", begin + "\n".join(lines)]


def output(command: list[str]) -> str:
    """What a process says where its output is no terminal; it ends well."""
    support = str(Path(__file__).parents[2] / "support")
    paths = os.pathsep.join([support, *sys.path])
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_training_in_a_file_says_how_far_it_is(tmp_path: Path) -> None:
    """Whoever follows the file reads epoch and step, how fast it goes and when it will end."""
    pytest.importorskip("torch", reason="needs torch, which only building models uses")
    lines = ("from pathlib import Path", "from training import run", f"run(Path({str(tmp_path)!r}))")
    said = output(script(*lines, every_s=0.001)).splitlines()
    steps = [line for line in said if line.startswith("training: ")]
    form = r"training: epoch [1-6] of 6, step \d+ of 20, loss \d\.\d{3}, [\d.]+ steps a second, \d+ s left"
    assert steps
    assert all(re.fullmatch(form, line) for line in steps)
    assert sum(line.startswith("epoch ") for line in said) == 6  # those that close an epoch stay


def test_a_training_that_goes_on_counts_on() -> None:
    """Its speed is that of the steps which it makes itself."""
    with progress.working("training", 1000, done=900, unit="step") as tell, progress.bars() as bars:
        tell(completed=950)
        (task,) = bars.tasks
        task.stop_time = (task.start_time or 0) + 10
        assert progress.line(task) == "training: step 950 of 1000, 5.0 steps a second, 10 s left"


def test_judging_says_how_far_it_is(
    anomaly_draft: Path, part_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through this loop calibrate, pack, verify and evaluate ask an engine; each picture is counted once."""
    bundle = read_model(anomaly_draft)
    shown = parts.calibration_pictures(part_folder, bundle.manifest.input)
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    answers = cases.judge_all(bundle, EngineChoice(kind="onnxruntime", precision="fp32"), shown)
    said = capsys.readouterr().out.splitlines()
    assert [int(re.findall(r"picture (\d+) of", line)[0]) for line in said] == [*range(1, len(answers) + 1)]
    form = r"judging on onnxruntime fp32: picture \d+ of \d+, [\d.]+ pictures a second, \d+ s left"
    assert all(re.fullmatch(form, line) for line in said)


def test_without_a_number_no_end_is_told() -> None:
    """Rather none than one that is made up."""
    lines = (
        "from trt_build.terminal.progress import counted",
        "for _ in counted(iter(range(99)), 'judging'): time.sleep(0.01)",
    )
    said = output(script(*lines, every_s=0.1)).splitlines()
    assert said
    assert all(re.fullmatch(r"judging: picture \d+, [\d.]+ pictures a second", line) for line in said)


@pytest.mark.parametrize("words", [("evaluate",), ("verify", "--data")])
def test_commands_say_how_far_they_are(
    trt_build: Run,
    score_bundle: Path,
    part_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
) -> None:
    """Also where they judge in a loop of their own."""
    monkeypatch.setattr(progress, "EVERY_S", 0.001)
    command, *option = words
    status, out, _ = trt_build(command, score_bundle, *option, part_folder)
    assert status in (0, 1)
    assert re.search(r"judging on \w+ \w+: picture \d+ of 22, ", out)


def test_rendering_says_how_far_it_is(trt_build: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set of a thousand boards takes minutes."""
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    status, out, _ = trt_build("render", tmp_path / "pairs", "--boards", 2, "--size", 320)
    assert status == 0
    assert out.startswith("rendering boards: picture 1 of 2, ")


def test_what_is_over_soon_says_nothing(trt_build: Run, tmp_path: Path) -> None:
    """A line every half minute, and none of what takes less."""
    assert trt_build("render", tmp_path / "pairs", "--boards", 2, "--size", 320) == (0, "", "")


def test_a_step_that_takes_long_is_told_meanwhile() -> None:
    """An export is one call that counts nothing: its lines come all the same, at their distance."""
    waits = "    time.sleep(1)"  # work of a known length
    said = output(script("with progress.working('exporting FP32'):", waits, every_s=0.1)).splitlines()
    assert 2 <= len(said) <= 10
    assert all(re.fullmatch(r"exporting FP32: \d s so far", line) for line in said)


def test_work_within_work_is_told_once() -> None:
    """The inner work says more; one line at a time."""
    outer = "with progress.working('judging labelled pictures'):\n    for _ in counted(range(200), 'inner'):"
    lines = ("from trt_build.terminal.progress import counted", outer, "        time.sleep(0.005)")
    said = output(script(*lines, every_s=0.1)).splitlines()
    assert len(said) >= 2
    assert all(line.startswith("inner: picture ") for line in said)
    counts = [int(line.split()[2]) for line in said]
    assert counts == sorted(counts)


def test_a_terminal_gets_bars() -> None:
    """Which count, and no lines beside them."""
    mine, its = os.openpty()
    env = os.environ | {"TERM": "xterm", "COLUMNS": "100", "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(script(COUNTED, every_s=0.01), stdout=its, stderr=its, env=env)
    os.close(its)
    seen = b""
    try:
        while chunk := os.read(mine, 4096):
            seen += chunk
    except OSError:
        pass  # the process has closed the terminal
    finally:
        os.close(mine)
    assert process.wait() == 0, seen
    assert re.search(rb"picture \d+ of 300", seen)
    assert b"pictures a second" not in seen


@pytest.mark.parametrize(("flags", "used"), [("sse2 avx2", False), ("avx2 avx512_bf16", True)])
def test_bfloat16_is_used_where_the_cpu_computes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, used: bool
) -> None:
    """Elsewhere it is emulated, and a training would take several times as long."""
    torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")
    from training import Line

    from trt_build.methods.loop import TrainConfig, fit

    (tmp_path / "cpuinfo").write_text(f"model name\t: any\nflags\t\t: {flags}\n")
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    processor.instructions.cache_clear()
    rounded = []

    class Watched(Line):
        def loss(self, batch: torch.Tensor) -> torch.Tensor:
            rounded.append(torch.is_autocast_enabled("cpu"))
            return super().loss(batch).float()

    try:
        fit(Watched(), tmp_path / "run", TrainConfig(epochs=1), describe={})
    finally:
        processor.instructions.cache_clear()
    assert rounded == [used] * 20


@pytest.mark.parametrize(("cores", "ahead"), [(1, 0), (2, 4), (8, 4)])
def test_a_training_takes_the_cores_that_are_free(
    trt_build: Run, pcb_pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, ahead: int
) -> None:
    """As many threads as cores, whatever the machine has beside; on one core nothing is made ahead."""
    torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")
    from trt_build.methods.comparator import train as train_comparator

    seen = []

    def fit(task: train_comparator.ComparatorTask, *_: object, **__: object) -> int:
        seen.append((torch.get_num_threads(), task.ahead, task.batches(0).ahead))
        return 0

    monkeypatch.setattr(train_comparator, "fit", fit)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    monkeypatch.setattr(processor, "OWN_GROUPS", tmp_path / "none")
    threads = torch.get_num_threads()
    try:
        assert trt_build("train", "comparator", pcb_pairs, tmp_path / "run")[0] == 0
    finally:
        torch.set_num_threads(threads)
    assert seen == [(cores, ahead, ahead)]
