"""A build that is watched, stopped, killed or repeated leaves nothing behind but what helps the next one."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from engines import Run, build, engines, files, needs_no_gpu, needs_rtx
from rich.progress import Progress

import trt_build.engines.build
import trt_build.engines.tensorrt_builder
from edge.bundle import Bundle
from edge.engines.compiled import ENGINES, Target
from edge.engines.trt_library import load_runtime
from trt_build.engines.build import PART
from trt_build.engines.progress import monitor_of
from trt_build.engines.timing_cache import keep_timings, timing_file, use_timings

pytestmark = pytest.mark.usefixtures("cache")


def interrupting(monkeypatch: pytest.MonkeyPatch, step: int) -> list[bool]:
    """Have Ctrl-C pressed at one of the builder's steps; gives whether that step is told to stop."""
    steps, told = iter(range(step)), []

    def pressed(*given: Any) -> Any:
        monitor = monitor_of(*given)
        real = type(monitor).step_complete

        class Pressed(type(monitor)):  # type: ignore[misc]
            def step_complete(self, phase: str, number: int) -> bool:
                if next(steps, None) == step - 1:
                    os.kill(os.getpid(), signal.SIGINT)
                    # The thread that hears of it may take a moment.
                    told.append(any(not real(self, phase, number) or time.sleep(0.01) for _ in range(1000)))
                return bool(real(self, phase, number))

        return Pressed()

    monkeypatch.setattr(trt_build.engines.tensorrt_builder, "monitor_of", pressed)
    return told


@needs_rtx
def test_an_interrupted_build_leaves_nothing(
    tiny: Bundle, anywhere: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even the engine of the other role, which was ready: without this one it is of no use."""
    with monkeypatch.context() as patch:
        told = interrupting(patch, 100)  # the reference has fewer
        with pytest.raises(KeyboardInterrupt):
            build(tiny, anywhere)
    assert told == [True]
    assert files(tiny) == set()
    assert not (tiny.folder / PART).exists()
    build(tiny, anywhere)
    assert len(engines(tiny)) == 2


@needs_rtx
@needs_no_gpu
def test_ctrl_c_ends_the_command_with_one_line(
    trt_build: Run, tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the status that a shell knows."""
    interrupting(monkeypatch, 3)
    status, said, errors = trt_build("build", tiny.folder, "--runtime", "tensorrt_rtx")
    assert (status, said.splitlines()[-1]) == (130, "stopped; of what was not finished nothing is left")
    assert errors == ""
    assert files(tiny) == set()


GARBAGE = """
import gc, logging, sys
from pathlib import Path
import tensorrt_rtx as trt
from edge.bundle import read_model
from edge.engines.compiled import Target
from trt_build.engines.tensorrt_builder import BuildOptions
from trt_build.engines.build import build_engines

def collect(record):
    if gc.isenabled():
        gc.collect()
    return False

gc.set_threshold(0)  # only when that is called
log = logging.getLogger("trt_build.engines.tensorrt_builder")
log.setLevel(logging.DEBUG)
log.addFilter(collect)
before = [trt.Builder(trt.Logger(trt.Logger.ERROR))]
before.append(before)
del before
here = Target(runtime="tensorrt_rtx", version=trt.__version__, compute_capability=None, driver=None)
print(len(list(build_engines(read_model(Path(sys.argv[1])), ["fp32"], here, BuildOptions(), None))))
"""


@needs_rtx
def test_what_an_earlier_build_left_in_memory_stops_no_other(free: Bundle) -> None:
    """TensorRT writes to its log with a lock held that freeing a builder takes; Python may free one then."""
    command = [sys.executable, "-W", "ignore", "-c", GARBAGE, str(free.folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=40)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1"), done.stderr


@needs_rtx
def test_what_a_killed_build_left_is_cleared(free: Bundle, anywhere: Target) -> None:
    """It is not mistaken for an engine, neither before nor after the next build."""
    (free.folder / PART / ENGINES).mkdir(parents=True)
    (free.folder / PART / ENGINES / "judge.fp32.0000.engine").write_bytes(b"half")
    assert engines(free) == []
    build(free, anywhere)
    assert len(engines(free)) == 1
    assert not (free.folder / PART).exists()


@needs_rtx
def test_bars_follow_the_builders_phases() -> None:
    """Each lies within its parent, goes when it is over and says how far it is; Ctrl-C ends the build."""
    asked = iter([False, True])

    def stop_if_asked() -> None:
        if next(asked):
            raise KeyboardInterrupt

    with Progress(disable=True) as bars:
        monitor = monitor_of(load_runtime("tensorrt_rtx"), bars, stop_if_asked)
        monitor.phase_start("Building", None, 6)
        monitor.phase_start("Timing", "Building", 3)
        assert monitor.step_complete("Timing", 1)
        assert [(bar.description, bar.completed, bar.total) for bar in bars.tasks] == [
            ("Building", 0, 6),
            ("  Timing", 2, 3),
        ]
        monitor.phase_finish("Timing")
        assert [bar.description for bar in bars.tasks] == ["Building"]
        assert not monitor.step_complete("Building", 1)


@needs_rtx
@pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops")
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data, ""),
        (lambda data: data[:-1], "was cut short or altered: measuring anew"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "was cut short or altered: measuring anew"),
        (lambda data: data[:7], "was cut short or altered: measuring anew"),
        (lambda data: b"", ""),
    ],
    ids=["sound", "cut short", "altered", "a few bytes", "empty"],
)
def test_measurements_are_kept_for_the_next_build(
    anywhere: Target, caplog: pytest.LogCaptureFixture, cache: Path, damage: Callable[[bytes], bytes], said: str
) -> None:
    """A file that is not sound is passed over with a line in the log, and replaced by the next."""
    trt = load_runtime("tensorrt_rtx")
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    first, second, third = (builder.create_builder_config() for _ in range(3))
    path = timing_file(anywhere)
    assert path
    use_timings(first, path)
    keep_timings(first, path)
    sound = path.read_bytes()
    path.write_bytes(damage(sound))
    with caplog.at_level(logging.WARNING):
        use_timings(second, path)
    assert said in caplog.text
    assert bool(said) == bool(caplog.records)
    keep_timings(second, path)
    assert path.read_bytes() == sound
    assert list(path.parent.iterdir()) == [path]
    use_timings(third, path)
    assert bytes(third.get_timing_cache().serialize()) == sound[32:]


def test_measurements_of_one_gpu_and_version_are_not_anothers(cache: Path) -> None:
    """Nor of another runtime."""
    here = Target(runtime="tensorrt", version="10.7.0", compute_capability=(8, 7), driver=12060)
    assert timing_file(here) == cache / "linejudge" / "timing" / "tensorrt-10.7.0-sm87.cache"
    others = [{"version": "10.8.0"}, {"compute_capability": (8, 9)}, {"runtime": "tensorrt_rtx"}]
    paths = {timing_file(msgspec.structs.replace(here, **other)) for other in (*others, {})}
    assert len(paths) == 4
