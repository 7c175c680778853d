"""A line that is held rejects every part until it is released, through restarts of stages and of the line."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lines import Subscriber, line_name, running, stop, until

from edge.errors import LineError
from edge.line.ask import ask
from edge.line.hold import Hold
from edge.memory.stages import Stages


@pytest.fixture
def stages(tmp_path: Path) -> Stages:
    return Stages.create(tmp_path / "stages", ["publish"])


def test_a_hold_outlasts_the_line(tmp_path: Path, stages: Stages) -> None:
    """The next start of the line finds it, with all that was said; a release ends it for good."""
    Hold(tmp_path, "pcb", stages).set("a mirror is dirty", "anna", "person")
    again = Stages.create(tmp_path / "again", ["publish"])
    hold = Hold(tmp_path, "pcb", again)
    assert again.hold == "a mirror is dirty"
    assert hold.held is not None
    assert (hold.held.by, hold.held.cause) == ("anna", "person")
    hold.release()
    assert again.hold == ""
    assert Hold(tmp_path, "pcb", again).held is None
    assert Hold(tmp_path, "other", again).held is None


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b'{"why": 1}', b"\xff" * 100])
def test_a_damaged_file_holds_the_line(tmp_path: Path, stages: Stages, data: bytes) -> None:
    """It must not release a line that was held."""
    (tmp_path / "pcb.hold.json").write_bytes(data)
    hold = Hold(tmp_path, "pcb", stages)
    assert "pcb.hold.json is damaged" in stages.hold
    hold.release()
    assert stages.hold == ""


def test_a_line_is_held_although_the_disk_is_full(tmp_path: Path, stages: Stages) -> None:
    """Whoever asked is told that a restart would release it."""
    hold = Hold(tmp_path, "pcb", stages)
    (tmp_path / "pcb.hold.json").mkdir()
    with pytest.raises(LineError, match=r"is held, but .* cannot be written"):
        hold.set("cleaning", "", "person")
    assert stages.hold == "cleaning"


def test_a_test_lifts_only_a_hold_for_lack_of_a_test(tmp_path: Path, stages: Stages) -> None:
    """What a person held stays held until a person releases it, whatever is due."""
    hold = Hold(tmp_path, "pcb", stages)
    hold.set("a challenge test is overdue", "", "challenge")
    hold.lift(True)
    assert stages.hold == ""
    hold.lift(False)
    assert stages.hold == "a challenge test is overdue"
    hold.set("cleaning", "anna", "person")
    hold.set("a challenge test is overdue", "", "challenge")
    hold.lift(True)
    assert stages.hold == "cleaning"


def test_a_person_who_holds_again_without_a_reason_keeps_the_first(tmp_path: Path, stages: Stages) -> None:
    """But not that of a hold for lack of a test, which a person then holds as well."""
    hold = Hold(tmp_path, "pcb", stages)
    hold.set("a challenge test is overdue", "", "challenge")
    hold.asked_to_hold({"by": "anna"})
    assert stages.hold == "no reason was given"
    hold.asked_to_hold({"why": "cleaning", "by": "anna"})
    hold.asked_to_hold({"by": "bert"})
    assert stages.hold == "cleaning"
    hold.asked_to_hold({"why": "a mirror is dirty"})
    assert stages.hold == "a mirror is dirty"


def test_a_long_reason_is_cut_to_what_shared_memory_takes(tmp_path: Path, stages: Stages) -> None:
    """It may be any text."""
    Hold(tmp_path, "pcb", stages).set("é" * 5000 + "\0", "", "person")
    assert len(Stages.open(tmp_path / "stages").hold.encode()) <= 300


def test_a_held_line_rejects_every_part_through_all_restarts(
    tmp_path: Path, endless: Callable[..., Path]
) -> None:
    """Of publish, and of the whole line. The heartbeat says so. Released, it passes good parts again."""
    recipe, name = endless(), line_name(tmp_path)

    def heard(reason: str, state: str) -> Callable[[], object]:
        seen = len(subscriber.verdicts)
        return lambda: (
            len(subscriber.verdicts) > seen + 5
            and subscriber.verdicts[-1][1].reason == reason
            and subscriber.heartbeats[-1]["state"] == state
        )

    with Subscriber(tmp_path) as subscriber:
        with running(recipe) as line:
            until(heard("clean", "judging"), "parts pass", line)
            answer = ask(name, "hold", why="a mirror is dirty", by="anna")
            assert answer["hold"]["why"] == "a mirror is dirty"
            asked_ns = time.monotonic_ns()
            until(heard("hold", "held"), "the line is held", line)
            killed = line.kill("publish")
            until(lambda: line.pid("publish") != killed, "publish is back", line)
            until(heard("hold", "held"), "the line is held yet", line)
            assert ask(name, "status")["hold"]["by"] == "anna"
            stop(line)
        with running(recipe) as line:
            until(heard("hold", "held"), "the line is held after its restart", line)
            released_ns = time.monotonic_ns()
            ask(name, "release")
            until(heard("clean", "judging"), "parts pass again", line)
            with pytest.raises(LineError, match="is not held"):
                ask(name, "release")
            stop(line)
    since = [one for one in subscriber.verdicts if asked_ns < one[1].published_ns < released_ns]
    held = since[1:]  # the first one was perhaps being made when the command came
    assert {(topic.partition(".")[0], verdict.reason) for topic, verdict in held} == {("reject", "hold")}
    assert {judged.verdict for _, verdict in held for judged in verdict.judges} == {"pass"}
    assert subscriber.heartbeats[-1]["reason"] == ""
    assert "a mirror is dirty" in {beat["reason"] for beat in subscriber.heartbeats}
