"""Peers mean harm, listen slowly, or come and go: no verdict is changed, and the others hear each one."""

from __future__ import annotations

import mmap
import os
import random
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from control_flood import flooding_control
from floods import flooding
from hostile import FORGED, half_greetings, send_noise, send_questions, send_requests, send_to_inbox
from lines import write_recipe
from numbered import EXACTLY, number_named, write_parts
from ports import free_port
from watched import Watched

from edge.line.run_folder import ledgers_in
from edge.memory.ledger import Ledger
from edge.memory.stages import STAGES

SEED = 5
MESSAGES = 4000
INBOXES = STAGES[1:]


@pytest.fixture(scope="module")
def ports() -> tuple[int, int]:
    """Of verdicts and of metrics."""
    return free_port(), free_port()


@pytest.fixture(scope="module")
def line(
    ports: tuple[int, int], tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path
) -> Iterator[Watched]:
    """A line that is heard on an ipc socket, while others do harm on its ports."""
    folder = tmp_path_factory.mktemp("line")
    source = write_parts(folder) + "\nfps = 40\nrepeat = true"
    recipe = write_recipe(folder, tiny_bundle, source, EXACTLY + "[timing]\ndeadline_ms = 1000\n")
    text = recipe.read_text().replace(
        "[publish]\nendpoints = [", f'[publish]\nendpoints = ["tcp://127.0.0.1:{ports[0]}", '
    )
    text = text.replace("[publish]\n", f'[publish]\nreplay = "ipc://{folder}/replay.ipc"\n')
    recipe.write_text(text.replace("port = 0", f"port = {ports[1]}"))
    with Watched(recipe, lambda _, name: number_named(name)) as found:
        yield found


@pytest.fixture
def undisturbed(accounted: Watched) -> Iterator[Watched]:
    """The line for a test of peers: no process of it ends, and no verdict comes from a forged message."""
    before = accounted.processes()
    yield accounted
    after = accounted.processes()  # a spare may begin meanwhile
    assert {name: after.get(name) for name in before} == before
    assert {verdict.body["reason"] for verdict in accounted.ear.verdicts} <= {
        "clean",
        "defect",
        "frame",
        "late",
        "overrun",
    }
    assert FORGED not in {verdict.body["detail"] for verdict in accounted.ear.verdicts}


@pytest.mark.parametrize("stage", INBOXES)
def test_messages_that_no_stage_sent_are_dropped_and_counted(undisturbed: Watched, stage: str) -> None:
    """Noise, torn and changed messages, those of another run or on another part: none is acted upon."""
    run, before = undisturbed.run_folder, undisturbed.dropped(stage)
    (ledger,) = map(Ledger.open, ledgers_in(run))
    part = ledger.part(ledger.captured - 1)
    send_to_inbox(
        run / f"{stage}.ipc", random.Random(f"{SEED} {stage}"), part, undisturbed.stages.run, MESSAGES
    )
    undisturbed.until(lambda: undisturbed.dropped(stage) >= before + MESSAGES, f"{stage} has dropped them")
    assert undisturbed.dropped(stage) == before + MESSAGES


def test_requests_that_are_none_are_answered_by_an_error(undisturbed: Watched) -> None:
    """On the control socket, each of them."""
    assert send_requests(undisturbed.folder / "control.ipc", random.Random(SEED), 200) == 200


def control_dropped(metrics: int) -> float:
    """How often the control socket was filled up, and how many messages there were no request or unread."""
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=30) as answer:
        rows = answer.read().decode().splitlines()
    found = [row for row in rows if "messages_dropped_total{" in row and 'stage="control"' in row]
    return float(found[0].rpartition(" ")[2])


def own_memory(pid: int) -> int:
    """The bytes of memory that a process shares with nobody."""
    _, resident, shared, *_ = map(int, Path(f"/proc/{pid}/statm").read_text().split())
    return (resident - shared) * mmap.PAGESIZE


@pytest.mark.parametrize(("kind", "drops"), [("deaf", 0), ("unfinished", 3)])
def test_a_client_that_floods_the_control_socket_delays_no_verdict(
    undisturbed: Watched, ports: tuple[int, int], kind: str, drops: int
) -> None:
    """It never reads answers, or never ends its request. The line's memory stays limited."""
    ear, pid, most = undisturbed.ear, undisturbed.process.pid, 0
    before, at_first, dropped = len(ear.verdicts), own_memory(pid), control_dropped(ports[1])

    def is_flooded() -> bool:
        nonlocal most
        most = max(most, own_memory(pid))
        return control_dropped(ports[1]) >= dropped + drops and len(ear.verdicts) >= before + 60

    with flooding_control(kind, undisturbed.folder / "control.ipc"):
        undisturbed.until(is_flooded, "verdicts come, and the socket is made anew")
    assert most - at_first < 1_000_000_000  # a second of the flood, if nothing stopped it, is that much
    during = [verdict.body["reason"] for verdict in ear.verdicts[before:]]
    assert during.count("late") < len(during) / 2
    assert send_requests(undisturbed.folder / "control.ipc", random.Random(SEED), 20) == 20


def test_questions_that_are_none_are_dropped_and_counted(undisturbed: Watched) -> None:
    """On the replay socket; a question that comes after them is answered."""
    before = undisturbed.dropped("replay")
    assert send_questions(undisturbed.log.parent / "replay.ipc", random.Random(SEED), 300)
    assert undisturbed.dropped("replay") == before + 300


def sockets(line: Watched, ports: tuple[int, int]) -> list[Path | int]:
    """All sockets of the line: in its folder, in that of the run, those of the recipe, and its ports."""
    folders = (line.folder, line.log.parent)
    found = [path for folder in folders for path in folder.rglob("*") if path.is_socket()]
    assert {"control.ipc", "verdicts.ipc", "replay.ipc"} <= {path.name for path in found}
    return [*found, *ports]


def test_half_a_greeting_and_noise_keep_no_socket_busy(undisturbed: Watched, ports: tuple[int, int]) -> None:
    """Connections that never say who they are, on every socket at once, and bytes that are no message."""
    rng, everywhere = random.Random(SEED), sockets(undisturbed, ports)
    for address in everywhere:
        with half_greetings(address, 100):
            send_noise(address, rng, 20)


@contextmanager
def subscriber(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A subscriber to all that comes, as a process of its own."""
    code = (
        "import zmq\n"
        "s = zmq.Context().socket(zmq.SUB)\n"
        "s.subscribe(b'')\n"
        f"s.connect('tcp://127.0.0.1:{port}')\n"
        "while True:\n"
        "    s.recv_multipart()\n"
        "    print(flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            process.stdout.readline()  # it hears something
            yield process
        finally:
            process.kill()


def test_slow_and_dead_subscribers_cost_the_others_nothing(
    undisturbed: Watched, ports: tuple[int, int]
) -> None:
    """One stands still and one is killed; who listens hears each verdict."""
    with subscriber(ports[0]) as slow, subscriber(ports[0]) as dead:
        os.kill(slow.pid, signal.SIGSTOP)
        dead.kill()
        seen = len(undisturbed.ear.verdicts)
        undisturbed.until(lambda: len(undisturbed.ear.verdicts) > seen + 40, "verdicts go on")


@pytest.mark.parametrize("flood", ["deaf", "fleeting", "noise"])
def test_a_crowd_of_subscribers_costs_the_others_nothing(
    undisturbed: Watched, ports: tuple[int, int], flood: str
) -> None:
    """Those that never read, that come and go, and that are none."""
    with flooding(flood, *ports):
        seen = len(undisturbed.ear.verdicts)
        undisturbed.until(lambda: len(undisturbed.ear.verdicts) > seen + 40, "verdicts go on")
