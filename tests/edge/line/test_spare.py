"""A process that ends is replaced by one that is loaded already, whichever processes end together."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from lines import RunningLine, Subscriber, is_running, judged, running, stop, until

from edge.line.plan import SPARE
from edge.line.spare import MOST_FAILURES

FORKS = "fork server"


def processes(line: RunningLine) -> dict[str, int]:
    """The line's processes by name."""
    found = {}
    for pid in Path(f"/proc/{line.process.pid}/task/{line.process.pid}/children").read_text().split():
        try:
            found[Path(f"/proc/{pid}/comm").read_text().strip()] = int(pid)
        except OSError:
            continue
    return found


def spare_of(line: RunningLine) -> int:
    """The process of the spare, once it is ready."""

    def is_ready() -> bool:
        row = line.stages()[SPARE][0]
        return bool(row["ready"]) and processes(line).get(SPARE) == row["pid"]

    until(is_ready, "the spare is ready", line)
    return processes(line)[SPARE]


def accounted(subscriber: Subscriber, line: RunningLine) -> None:
    """Stop the line: each part that was captured has one verdict."""
    ledger = line.ledger()
    said = stop(line)
    assert "Traceback" not in said, said
    until(lambda: len(set(subscriber.ids())) >= ledger.captured, "the last verdict is heard")
    assert len(set(subscriber.ids())) == ledger.captured


def test_the_spare_takes_the_place_of_infer(tmp_path: Path, endless: Callable[..., Path]) -> None:
    """At once, and the next one is made ready; a spare that ends is replaced as well."""
    with Subscriber(tmp_path) as subscriber, running(endless()) as line:
        first = spare_of(line)
        line.kill("infer")
        until(lambda: line.stages()["infer"][0]["pid"] == first, "the spare is infer", line)
        until(judged(subscriber, 10), "parts are judged by it", line)
        assert processes(line)["infer"] == first
        second = spare_of(line)
        assert second != first
        os.kill(second, signal.SIGKILL)
        until(lambda: spare_of(line) != second, "there is a spare again", line)
        third = spare_of(line)
        for pid in (first, third):
            os.kill(pid, signal.SIGKILL)
        until(lambda: line.pid("infer") not in (first, second, third), "a new process is infer", line)
        until(judged(subscriber, 10), "parts are judged by it", line)
        accounted(subscriber, line)


def test_a_line_without_a_spare(tmp_path: Path, endless: Callable[..., Path]) -> None:
    """As the recipe says; infer is started anew when it ends."""
    with Subscriber(tmp_path) as subscriber, running(endless("[engine]\nspare = false")) as line:
        killed = line.kill("infer")
        until(lambda: line.pid("infer") != killed, "infer is back", line)
        until(judged(subscriber, 10), "parts are judged", line)
        assert SPARE not in processes(line)
        accounted(subscriber, line)


def test_a_spare_with_another_engine_is_none(tmp_path: Path, endless: Callable[..., Path]) -> None:
    """It would judge by other numbers than the line; the log says why there is none, and the line goes on."""
    with Subscriber(tmp_path) as subscriber, running(endless()) as line:
        spare = spare_of(line)
        running_file = line.run / "engine.json"
        running_file.write_text(running_file.read_text().replace('"constant"', '"tensorrt"'))
        os.kill(spare, signal.SIGKILL)
        said = line.says("infer: the line goes on without a spare process: ")
        until(lambda: SPARE not in processes(line), "there is no spare", line)
        until(judged(subscriber, 10), "parts are judged", line)
        stop(line)
    assert said.count("engine.spare: the line runs on tensorrt ") >= MOST_FAILURES
    assert "set engine.spare = false" in said


def test_the_fork_server_ends_or_hangs(tmp_path: Path, endless: Callable[..., Path]) -> None:
    """Together with a stage: both are replaced, and parts are judged again."""
    with Subscriber(tmp_path) as subscriber, running(endless()) as line:
        until(judged(subscriber, 5), "parts are judged", line)
        for number, stage in ((signal.SIGKILL, "capture"), (signal.SIGSTOP, "publish")):
            forks, killed = processes(line)[FORKS], line.pid(stage)
            os.kill(forks, number)
            os.kill(killed, signal.SIGKILL)
            until(lambda killed=killed, stage=stage: line.pid(stage) != killed, f"{stage} is back", line)
            until(lambda forks=forks: processes(line).get(FORKS, forks) != forks, "a new server", line)
            until(judged(subscriber, 10), "parts are judged again", line)
        accounted(subscriber, line)


def test_nobody_stays_behind_a_killed_supervisor(tmp_path: Path, endless: Callable[..., Path]) -> None:
    """Neither the spare nor the fork server, nor a stage that was forked after a fault."""
    with running(endless()) as line:
        spare_of(line)
        line.kill("preprocess")
        line.pid("preprocess")
        found = processes(line)
        assert {FORKS, SPARE, "capture", "preprocess", "infer", "publish"} <= found.keys()
        line.process.kill()
        until(lambda: not any(map(is_running, found.values())), "all have ended")


@pytest.mark.parametrize("stage", ["capture", "preprocess", "publish"])
def test_a_stage_that_fails_again_and_again_comes_back_soon(
    tmp_path: Path, endless: Callable[..., Path], stage: str
) -> None:
    """The first restart does not wait, no later one waits for long, and each fault is told."""
    with Subscriber(tmp_path) as subscriber, running(endless()) as line:
        until(judged(subscriber, 5), "parts are judged", line)
        for _ in range(6):
            killed = line.kill(stage)
            until(lambda killed=killed: line.pid(stage) != killed, f"{stage} is back", line)
        until(judged(subscriber, 5), "parts are judged again", line)
        said = stop(line)
    waits = [float(wait) for wait in re.findall(rf"{stage}: ended .* restarting it in ([\d.]+) s", said)]
    assert len(waits) == 6
    assert waits[0] == 0
    assert 0 < max(waits) <= 0.3
