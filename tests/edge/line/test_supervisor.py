"""The line as a whole, in real processes: what is captured gets exactly one verdict, whatever breaks."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zmq
from lines import (
    PATIENCE_S,
    UNHURRIED,
    Subscriber,
    is_running,
    judged,
    running,
    stop,
    until,
    write_boards,
    write_recipe,
)

from edge.memory.stages import STAGES
from edge.messages import Tensor, Unknown, Verdict
from edge.wire import pack

BOARDS = {f"{i:03d}": i % 3 != 1 for i in range(30)}


def exactly_once(subscriber: Subscriber) -> list[str]:
    """The part_ids heard, after checking that none is missing or repeated within its epoch."""
    ids = subscriber.ids()
    assert len(set(ids)) == len(ids)
    for epoch in {part_id.partition("-")[0] for part_id in ids}:
        sequence = [int(part_id.partition("-")[2]) for part_id in ids if part_id.startswith(f"{epoch}-")]
        assert sequence == list(range(1, len(sequence) + 1))
    return ids


def test_every_board_gets_its_verdict(tmp_path: Path, tiny_bundle: Path, textured: np.ndarray) -> None:
    """A folder of boards, judged by a real network: each has one verdict, the right one, on its topic."""
    source = write_boards(tmp_path, BOARDS, textured) + "\nfps = 40"
    recipe = write_recipe(tmp_path, tiny_bundle, source, UNHURRIED)
    with Subscriber(tmp_path) as subscriber, running(recipe) as line:
        status, said = line.wait()
        until(lambda: len(subscriber.verdicts) >= len(BOARDS), "the last verdict is heard")
    assert status == 0, said
    assert exactly_once(subscriber) == [f"1-{i}" for i in range(1, len(BOARDS) + 1)]
    found = {topic.partition(".")[0] for topic, _ in subscriber.verdicts}
    assert found == {"accept", "reject"}
    for (topic, verdict), good in zip(subscriber.verdicts, BOARDS.values(), strict=True):
        assert verdict.verdict == ("pass" if good else "reject"), verdict
        assert topic.startswith("accept." if good else "reject.")
        assert verdict.published_ns < verdict.deadline_ns
        assert (
            sum(verdict.latency_us[stage] for stage in ("capture", "preprocess", "infer", "publish"))
            == (verdict.latency_us["total"])
        )
        if not good:
            region = verdict.regions[0]
            assert abs(region.x + region.w / 2 - 40) < 6
            assert abs(region.y + region.h / 2 - 24) < 6
    assert not line.folder.exists()


@pytest.mark.parametrize("stage", ["infer", "preprocess"])
def test_a_stage_killed_in_mid_run_loses_no_part(
    tmp_path: Path, endless: Callable[..., Path], stage: str
) -> None:
    """A stage killed outright may cost verdicts of parts in flight; no part is lost, and judging goes on."""
    with Subscriber(tmp_path) as subscriber, running(endless()) as line:
        until(judged(subscriber, 10), "parts are judged", line)
        killed = line.kill(stage)
        until(lambda: line.pid(stage) != killed, f"{stage} is back", line)
        until(judged(subscriber, 10), "parts are judged again", line)
        captured = line.ledger()
        stop(line)
        until(lambda: len(subscriber.verdicts) >= captured.captured, "the last verdict is heard")
    assert len(exactly_once(subscriber)) == captured.captured
    unknown = [verdict for _, verdict in subscriber.verdicts if verdict.verdict == "unknown"]
    assert {verdict.reason for verdict in unknown} <= {"lost", "late", "overrun"}
    assert all(topic.startswith("reject.") == (v.verdict != "pass") for topic, v in subscriber.verdicts)


def test_what_a_killed_process_had_in_work_is_told_long_before_its_deadline(
    tmp_path: Path, endless: Callable[..., Path]
) -> None:
    """And so are the verdicts of the parts behind it, which come in order."""
    deadline_s = PATIENCE_S / 2
    # Infer always has a part in work.
    recipe = endless(f"[timing]\ndeadline_ms = {1000 * deadline_s:g}", fps=30, delay_ms=50)
    with Subscriber(tmp_path) as subscriber, running(recipe) as line:
        until(judged(subscriber, 10), "parts are judged", line)
        line.kill("infer")
        until(lambda: "lost" in [verdict.reason for _, verdict in subscriber.verdicts], "one is lost", line)
        until(judged(subscriber, 10), "parts are judged again", line)
        stop(line)
    first = next(verdict for _, verdict in subscriber.verdicts if verdict.reason == "lost")
    assert (first.deadline_ns - first.published_ns) / 1e9 > deadline_s / 2
    assert "ended before it had answered" in first.detail


def test_capture_killed_in_mid_run_begins_a_new_epoch(tmp_path: Path, endless: Callable[..., Path]) -> None:
    """Parts of a capture that died keep their verdict; its successor counts from 1 in the next epoch."""
    with Subscriber(tmp_path) as subscriber, running(endless()) as line:
        until(judged(subscriber, 10), "parts are judged", line)
        line.kill("capture")
        until(lambda: any(part_id.startswith("2-") for part_id in subscriber.ids()), "epoch 2", line)
        ledger = line.ledger()
        stop(line)
        until(lambda: len(subscriber.verdicts) >= ledger.captured, "the last verdict is heard")
    assert len(exactly_once(subscriber)) == ledger.captured


def test_publish_killed_in_mid_run_costs_a_subscriber_nothing(
    tmp_path: Path, endless: Callable[..., Path]
) -> None:
    """Nor does its heir, killed at once: a verdict is heard on every part, and what comes twice is the same."""
    with Subscriber(tmp_path) as subscriber, running(endless()) as line:
        until(judged(subscriber, 10), "parts are judged", line)
        killed = line.kill("publish")
        until(lambda: line.pid("publish") != killed, "publish is back", line)
        line.kill("publish")
        until(judged(subscriber, 10), "parts are judged again", line)
        ledger = line.ledger()
        stop(line)
        until(lambda: len(set(subscriber.ids())) >= ledger.captured, "the last verdict is heard")
    assert ledger.published == ledger.captured
    heard: dict[str, Verdict] = {}
    for _, verdict in subscriber.verdicts:
        first = heard.setdefault(verdict.part_id, verdict)
        assert verdict in (first, msgspec.structs.replace(first, resent=True))
    assert sorted(verdict.sequence for verdict in heard.values()) == list(range(1, ledger.captured + 1))


def test_a_stop_lets_the_parts_in_flight_have_their_verdict(
    tmp_path: Path, endless: Callable[..., Path]
) -> None:
    """SIGTERM ends capture first; what was captured is still judged, and nothing is left in shared memory."""
    with Subscriber(tmp_path) as subscriber, running(endless(delay_ms=60)) as line:
        until(judged(subscriber, 5), "parts are judged", line)
        ledger = line.ledger()
        stop(line)
        until(lambda: len(subscriber.verdicts) >= ledger.captured, "the last verdict is heard")
    assert len(exactly_once(subscriber)) == ledger.captured
    assert not line.folder.exists()


def test_parts_that_find_no_slot_are_unknown(tmp_path: Path, endless: Callable[..., Path]) -> None:
    """An engine that is too slow costs verdicts, never memory and never a part."""
    recipe = endless("[timing]\nslots = 3\ndeadline_ms = 30000\n[engine]\nlanes = 1", delay_ms=200)
    with Subscriber(tmp_path) as subscriber, running(recipe) as line:
        until(judged(subscriber, 4), "parts are judged", line)
        stop(line)
    exactly_once(subscriber)
    reasons = [verdict.reason for _, verdict in subscriber.verdicts]
    assert reasons.count("overrun") > reasons.count("clean") > 0
    assert all(verdict.published_ns < verdict.deadline_ns for _, verdict in subscriber.verdicts)


@pytest.mark.parametrize(("fault", "reason"), [("nan", "score"), ("device lost", "engine")])
def test_an_engine_gone_wrong_never_passes_a_part(
    tmp_path: Path, endless: Callable[..., Path], fault: str, reason: str
) -> None:
    """NaN and engine errors are unknown parts, each with its reason, and the others are judged."""
    with Subscriber(tmp_path) as subscriber, running(endless(UNHURRIED, fault=fault, every=4)) as line:
        until(judged(subscriber, 12), "parts are judged", line)
        stop(line)
    exactly_once(subscriber)
    reasons = {verdict.reason for _, verdict in subscriber.verdicts}
    assert reasons == {"clean", reason}


def test_an_engine_that_stays_broken_is_loaded_anew(tmp_path: Path, endless: Callable[..., Path]) -> None:
    """After failures in a row the stage is started again, and the heartbeat says that the line is blind."""
    with Subscriber(tmp_path) as subscriber, running(endless(fault="device lost")) as line:
        first = line.pid("infer")
        until(lambda: line.pid("infer") != first, "infer is started anew", line)
        until(lambda: any(b["state"] == "blind" for b in subscriber.heartbeats), "the line is blind", line)
        stop(line)
    assert {verdict.verdict for _, verdict in subscriber.verdicts} == {"unknown"}


def test_a_stage_that_hangs_is_killed_and_started_anew(tmp_path: Path, endless: Callable[..., Path]) -> None:
    """A stage that stands still without ending costs verdicts, not parts, and is replaced."""
    with Subscriber(tmp_path) as subscriber, running(endless(fps=20)) as line:
        until(judged(subscriber, 3), "parts are judged", line)
        hung = line.pid("infer")
        os.kill(hung, signal.SIGSTOP)
        until(lambda: line.pid("infer") != hung, "infer is replaced", line)
        until(judged(subscriber, 3), "parts are judged again", line)
        ledger = line.ledger()
        assert "no sign of life" in stop(line)
        until(lambda: len(subscriber.verdicts) >= ledger.captured, "the last verdict is heard")
    assert len(exactly_once(subscriber)) == ledger.captured


def test_what_a_killed_run_left_is_cleared_away(tmp_path: Path, endless: Callable[..., Path]) -> None:
    """After kill -9 of the whole line the next start works; its stages are gone and its epoch is the next."""
    recipe = endless()
    with Subscriber(tmp_path) as subscriber:
        with running(recipe) as line:
            until(judged(subscriber, 3), "parts are judged", line)
            stages = [line.pid(stage) for stage in ("capture", "preprocess", "infer", "publish")]
            line.process.kill()
            until(lambda: not any(map(is_running, stages)), "gone")
        assert line.folder.exists()
        with running(recipe) as line:
            until(lambda: any(part_id.startswith("2-") for part_id in subscriber.ids()), "epoch 2", line)
            assert "removed what a killed run had left" in stop(line)


def test_a_line_runs_once(tmp_path: Path, endless: Callable[..., Path]) -> None:
    """A second start under the same name is refused, and the first goes on."""
    recipe = endless()
    with Subscriber(tmp_path) as subscriber, running(recipe) as line:
        until(judged(subscriber, 3), "parts are judged", line)
        with running(recipe) as second:
            status, said = second.wait()
        assert status == 1
        assert "runs already" in said
        until(judged(subscriber, 3), "the first goes on", line)
        stop(line)


def test_an_endpoint_in_use_is_said_at_the_start(tmp_path: Path, endless: Callable[..., Path]) -> None:
    """A port that something else holds is an error that names the key; nothing is left running."""
    recipe = endless()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        recipe.write_text(recipe.read_text().replace(f"ipc://{tmp_path}/verdicts.ipc", address))
        with running(recipe) as line:
            status, said = line.wait()
    assert status == 1
    assert "publish.endpoints" in said
    assert not line.folder.exists()


def test_a_lost_gpu_costs_the_parts_in_flight_and_no_more(tmp_path: Path, endless: Callable[..., Path]) -> None:
    """They are unknown at once, infer is started anew, and the line judges on."""
    with Subscriber(tmp_path) as subscriber, running(endless(fps=50, fault="lost", every=20)) as line:
        until(judged(subscriber, 10), "parts are judged", line)
        first = line.pid("infer")
        until(lambda: line.pid("infer") != first, "infer is started anew", line)
        until(judged(subscriber, 5), "parts are judged again", line)
        captured = line.ledger()
        stop(line)
        until(lambda: len(subscriber.verdicts) >= captured.captured, "the last verdict is heard")
    assert len(exactly_once(subscriber)) == captured.captured
    unknown = [verdict for _, verdict in subscriber.verdicts if verdict.verdict == "unknown"]
    assert {verdict.reason for verdict in unknown} <= {"engine", "lost", "late", "overrun"}
    lost = [verdict.detail for verdict in unknown if verdict.reason == "engine"]
    assert lost
    assert set(lost) == {"the device does not answer"}


def test_a_subscriber_hears_at_once_how_the_line_is(tmp_path: Path, endless: Callable[..., Path]) -> None:
    """Also the supervisor, which waits for that: a line with rare heartbeats is armed as soon as any other."""
    recipe = endless()
    recipe.write_text(recipe.read_text().replace("heartbeat_ms = 200", "heartbeat_ms = 60000"))
    with running(recipe) as line:
        line.pid("capture")  # nobody has subscribed but the supervisor
        with Subscriber(tmp_path) as subscriber:
            until(judged(subscriber, 10), "parts are judged", line)
            until(lambda: subscriber.heartbeats, "a heartbeat is heard", line)
        stop(line)
    assert [heartbeat["v"] for heartbeat in subscriber.heartbeats] == [1]


def test_messages_that_are_none_cost_a_line_nothing(tmp_path: Path, endless: Callable[..., Path]) -> None:
    """Noise, and messages of another run, end no stage and change no verdict; the line counts them."""
    recipe = endless(UNHURRIED)
    with Subscriber(tmp_path) as subscriber, running(recipe) as line, zmq.Context() as context:
        until(judged(subscriber, 5), "parts are judged", line)
        ledger, pids = line.ledger(), {stage: line.pid(stage) for stage in STAGES}
        stale = Unknown(part=ledger.part(ledger.captured - 1), reason="engine", detail="", done_ns={})
        for stage in STAGES[1:]:
            with context.socket(zmq.PUSH) as socket:
                socket.connect(f"ipc://{line.run}/{stage}.ipc")
                for _ in range(100):
                    socket.send(b"")
                    socket.send(pack(stale, bytes(8)))
                    socket.send(pack(Tensor(part=stale.part, inputs=(), done_ns={}), line.stages().run))
                until(
                    lambda stage=stage: line.stages()[stage]["dropped"][0] == 300, f"{stage} has dropped them"
                )
        until(judged(subscriber, 5), "parts are judged again", line)
        assert pids == {stage: line.pid(stage) for stage in STAGES}
        assert "dropped a message" in stop(line)
    exactly_once(subscriber)
    assert {verdict.reason for _, verdict in subscriber.verdicts} == {"clean"}


def test_a_master_that_changes_under_a_line_is_refused(
    tmp_path: Path, tiny_bundle: Path, textured: np.ndarray
) -> None:
    """An infer that is started anew would hold old parts against it; it says so, and nothing passes."""
    source = write_boards(tmp_path, {"0": False}, textured) + "\nfps = 20\nrepeat = true"
    recipe = write_recipe(tmp_path, tiny_bundle, source, "[timing]\ndeadline_ms = 1000")
    with Subscriber(tmp_path) as subscriber, running(recipe) as line:
        until(judged(subscriber, 5), "parts are judged", line)
        shutil.copyfile(next((tmp_path / "frames").iterdir()), tmp_path / "masters/a.png")
        captured = line.ledger().captured
        line.kill("infer")
        until(lambda: line.ledger().published > captured + 40, "verdicts go on", line)
        assert "a.png: has changed since the line was started" in stop(line)
    assert {verdict.verdict for _, verdict in subscriber.verdicts} == {"reject", "unknown"}
    assert exactly_once(subscriber)


def test_a_line_whose_capture_stands_still_says_that_it_is_blind(
    tmp_path: Path, endless: Callable[..., Path]
) -> None:
    """With the reason; when parts come again it judges."""
    with Subscriber(tmp_path) as subscriber, running(endless()) as line:
        until(judged(subscriber, 5), "parts are judged", line)
        os.kill(line.pid("capture"), signal.SIGSTOP)
        # Its successor looks again within less than the time between two heartbeats.
        reason = "capture has shown no sign of life"
        until(
            lambda: any(str(b["reason"]).startswith(reason) for b in subscriber.heartbeats),
            f"it says: {reason}",
            line,
        )
        until(judged(subscriber, 5), "parts are judged again", line)
        until(lambda: subscriber.heartbeats[-1]["state"] == "judging", "it says so", line)
        stop(line)
    assert {b["state"] for b in subscriber.heartbeats if b["reason"]} == {"blind"}
