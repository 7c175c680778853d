"""When the supervisor dies: what was captured gets its verdict all the same, and nobody stays behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lines import RunningLine, Subscriber, is_running, judged, running, until

from edge.errors import LineError
from edge.line.endpoint import claim
from edge.line.run_folder import ledger_path, ring_path
from edge.memory.ledger import Ledger
from edge.memory.stages import STAGES
from edge.messages import Verdict


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(pids: list[int]) -> Callable[[], bool]:
    return lambda: not any(map(is_running, pids))


def stages(line: RunningLine) -> list[int]:
    return [line.pid(stage) for stage in STAGES]


def heard_once(subscriber: Subscriber) -> dict[int, Verdict]:
    """The verdicts of the first epoch by sequence; what came twice is the same and says so."""
    found: dict[int, Verdict] = {}
    first = min((verdict.epoch for _, verdict in subscriber.verdicts), default=0)
    for _, verdict in subscriber.verdicts:
        if verdict.epoch == first:
            assert verdict.sequence not in found or verdict.resent
            found.setdefault(verdict.sequence, verdict)
    return found


def test_a_killed_supervisor_leaves_no_part_without_a_verdict(
    tmp_path: Path, endless: Callable[..., Path]
) -> None:
    """Publish gives out all that is captured, late where nobody judged it, then ends like the others."""
    recipe = endless("[timing]\ndeadline_ms = 1500", delay_ms=60)
    with Subscriber(tmp_path) as subscriber, running(recipe) as line:
        until(judged(subscriber, 5), "parts are judged", line)
        pids, ledger = stages(line), line.ledger()
        line.process.kill()
        until(gone(pids), "the stages have ended")
        assert ledger.published == ledger.captured
        until(lambda: len(heard_once(subscriber)) >= ledger.captured, "every part is heard of")
    verdicts = heard_once(subscriber)
    assert list(verdicts) == list(range(1, ledger.captured + 1))
    assert verdicts[ledger.captured].reason == "late"
    judged_ = [verdict for verdict in verdicts.values() if verdict.reason != "late"]
    assert all(verdict.published_ns < verdict.deadline_ns for verdict in judged_)


def test_what_a_line_killed_as_a_whole_left_is_published_by_the_next(
    tmp_path: Path, endless: Callable[..., Path]
) -> None:
    """As `late`, before anything of the new run; the run after that has nothing to tell of it any more."""
    recipe = endless("[timing]\ndeadline_ms = 1500", delay_ms=60)
    with Subscriber(tmp_path) as subscriber:
        with running(recipe) as line:
            until(judged(subscriber, 5), "parts are judged", line)
            pids, folder = stages(line), line.run
            for pid in (line.process.pid, *pids):
                os.kill(pid, signal.SIGSTOP)
            for pid in (line.process.pid, *pids):
                os.kill(pid, signal.SIGKILL)
            until(gone(pids), "the stages have ended")
            ledger = Ledger.open(ledger_path(folder, "camera"))
            captured = ledger.captured
            assert ledger.published < captured
        endpoint = f"ipc://{tmp_path}/verdicts.ipc"
        broken = recipe.with_name("broken.toml")
        broken.write_text(recipe.read_text().replace(endpoint, "ipc:///no/such/folder/verdicts.ipc"))
        with running(broken) as line:  # a start that fails costs them nothing
            assert line.wait()[0] == 1
        with running(recipe) as line:
            until(judged(subscriber, 3), "parts are judged again", line)
            # What was judged then was perhaps sent again and is of the first run, whose last verdicts follow.
            until(lambda: len(heard_once(subscriber)) >= captured, "every part is heard of", line)
            verdicts = heard_once(subscriber)
            assert not ring_path(folder, "camera").exists()
            until(lambda: ledger.recorded_since(ledger.settled_ns) == [], "all who were there have heard", line)
            line.process.send_signal(signal.SIGTERM)
            status, said = line.wait()
    assert status == 0, said
    assert list(verdicts) == list(range(1, captured + 1))
    assert verdicts[captured].reason == "late"
    assert "ended before" in verdicts[captured].detail
    assert [verdict.epoch for _, verdict in subscriber.verdicts] == sorted(
        verdict.epoch for _, verdict in subscriber.verdicts
    )
    assert not line.folder.exists()


@pytest.mark.parametrize("started", [1, 2, 4])
def test_a_supervisor_that_dies_while_the_line_starts_leaves_nobody_behind(
    endless: Callable[..., Path], started: int
) -> None:
    """However far the stages have come, none of them goes on without it."""
    with running(endless()) as line:
        until(lambda: len(children(line.process.pid)) >= min(started, 3), "stages are being started", line)
        if started > 3:
            until(lambda: len(children(line.process.pid)) >= started, "capture is being started", line)
        pids = children(line.process.pid)
        line.process.kill()
        until(gone(pids), "the stages have ended")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGABRT], ids=lambda number: number.name)
def test_hanging_up_and_the_watchdog_stop_a_line_in_order(
    tmp_path: Path, endless: Callable[..., Path], number: signal.Signals
) -> None:
    """What is in flight still has its verdict, and nothing is left."""
    with Subscriber(tmp_path) as subscriber, running(endless(delay_ms=60)) as line:
        until(judged(subscriber, 5), "parts are judged", line)
        ledger = line.ledger()
        line.process.send_signal(number)
        status, said = line.wait()
        until(lambda: len(subscriber.verdicts) >= ledger.captured, "the last verdict is heard")
    assert status == 0, said
    assert list(heard_once(subscriber)) == list(range(1, ledger.captured + 1))
    assert not line.folder.exists()


def test_a_folder_that_is_removed_under_a_line_ends_it(tmp_path: Path, endless: Callable[..., Path]) -> None:
    """It says so, and nobody stays behind who would serve from memory that no successor finds."""
    with Subscriber(tmp_path) as subscriber, running(endless()) as line:
        until(judged(subscriber, 5), "parts are judged", line)
        pids, ledger = stages(line), line.ledger()
        ledger_path(line.run, "camera").unlink()
        status, said = line.wait()
        assert status == 1
        assert "was removed" in said
        until(gone(pids), "the stages have ended")
        until(lambda: len(subscriber.verdicts) >= ledger.captured, "the last verdict is heard")


def test_an_ipc_endpoint_is_not_taken_from_a_line_that_runs(
    tmp_path: Path, endless: Callable[..., Path]
) -> None:
    """A second line with the same endpoint is refused, with whose it is; the first goes on."""
    recipe = endless()
    second = recipe.with_name("second.toml")
    second.write_text(recipe.read_text().replace('line = "t', 'line = "u'))
    with Subscriber(tmp_path) as subscriber, running(recipe) as line:
        until(judged(subscriber, 3), "parts are judged", line)
        with running(second) as other:
            status, said = other.wait()
        assert status == 1
        assert f"belongs to process {line.pid('publish')}" in said
        until(judged(subscriber, 3), "the first goes on", line)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[str]:
    """An endpoint that a process has claimed which is alive."""
    endpoint = f"ipc://{tmp_path}/verdicts.ipc"
    ready, done = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        claim(endpoint)
        os.write(ready[1], b"x")
        os.read(done[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    yield endpoint
    os.write(done[1], b"x")
    os.waitpid(pid, 0)
    claim(endpoint)  # a dead one's is free


def test_a_claim_lasts_as_long_as_its_process(held: str) -> None:
    """Nobody else has the endpoint meanwhile, and anybody afterwards; other kinds need no claim."""
    with pytest.raises(LineError, match="belongs to process"):
        claim(held)
    for endpoint in ("tcp://127.0.0.1:5571", "ipc://@abstract"):
        claim(endpoint)
    with pytest.raises(LineError, match="make its folder"):
        claim("ipc:///no/such/folder/verdicts.ipc")


def test_a_stage_that_is_killed_while_the_line_starts_is_started_anew(
    tmp_path: Path, endless: Callable[..., Path]
) -> None:
    """The line comes up all the same; one that ends by itself has a reason, which ends the line."""
    with Subscriber(tmp_path) as subscriber, running(endless()) as line:
        until(lambda: len(children(line.process.pid)) >= 3, "stages are being started", line)
        for pid in children(line.process.pid):
            os.kill(pid, signal.SIGKILL)
        until(judged(subscriber, 3), "parts are judged", line)
