"""Breaks a real line at random, hears it as a subscriber, and accounts for each part that it captured.

The line judges numbered pictures by a tiny network, so a verdict on another part's picture shows. First,
`--kills` times at random moments, also during start-up: a process is killed or stopped for a while, or two at
once, or the supervisor, or all; a dead supervisor is started again, as systemd would. Then each process is
killed `--alone` times while all is well, to measure how soon the next part is judged. Last, `--messages` forged
messages go to the inboxes, and `--connections` connections that say half a greeting are held open. Ends with
one line of JSON. Needs `pip install '.[test]'`.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from account import Heard
from bundles import KINDS, write_comparator
from hostile import FORGED, half_greetings, send_to_inbox
from lines import write_recipe
from numbered import EXACTLY, number_named, write_parts
from ports import free_port
from watched import Watched, kill, stopped

from edge.engines.processor import name as processor_name
from edge.line.plan import SPARE
from edge.line.run_folder import ledgers_in
from edge.memory.ledger import Ledger
from edge.memory.stages import STAGES

FPS, DEADLINE_MS = 60, 200
ALONE = (*STAGES, SPARE, "fork server")
#: What is done at random, as often as it stands here.
FAULTS = (*["kill"] * 6, *["stop"] * 3, *["pair"] * 2, "supervisor", "all")
console = Console(stderr=True, markup=False, highlight=False)


@contextmanager
def line(folder: Path, port: int) -> Iterator[Watched]:
    """A line on numbered pictures, heard by an ipc socket; it listens at a port, too."""
    bundle = write_comparator(folder / "tiny", KINDS)
    source = write_parts(folder) + f"\nfps = {FPS}\nrepeat = true"
    recipe = write_recipe(folder, bundle, source, f"{EXACTLY}[timing]\ndeadline_ms = {DEADLINE_MS}\n")
    own = f"ipc://{folder}/verdicts.ipc"
    recipe.write_text(recipe.read_text().replace(f'["{own}"]', f'["{own}", "tcp://127.0.0.1:{port}"]'))
    with Watched(recipe, lambda _, name: number_named(name)) as found:
        found.await_well()
        yield found


def at_random(watched: Watched, kills: int, rng: random.Random) -> dict[str, int]:
    """Do so many faults, each after a random time; return how often each was done."""
    done: collections.Counter[str] = collections.Counter()
    everyone = (*ALONE, "supervisor")
    for count in range(1, kills + 1):
        fault = rng.choice(FAULTS)
        time.sleep(rng.uniform(0, 1.5))
        there = watched.processes()
        targets = {
            "kill": [rng.choice(ALONE)],
            "stop": [rng.choice(everyone)],
            "pair": rng.sample(ALONE, 2),
            "supervisor": ["supervisor"],
            "all": list(there),
        }[fault]
        pids = [there[name] for name in targets if name in there]
        if fault == "stop" and pids:
            with suppress(ProcessLookupError), stopped(pids[0]):
                time.sleep(rng.uniform(0.02, 1))
        else:
            for pid in pids:
                kill(pid)
            if fault in ("supervisor", "all") and rng.random() < 0.7:
                watched.await_well()  # else most faults would hit a line that starts
        done[f"{fault} {targets[0]}" if fault in ("kill", "stop") else fault] += 1
        if count % 20 == 0:
            console.print(f"{count} faults, {len(watched.captured)} parts captured, {watched.starts} starts")
    watched.await_well()
    return dict(sorted(done.items()))


def alone(watched: Watched, name: str, kills: int) -> list[tuple[int, float]]:
    """Kill a process so often while all is well; return when in ns, and after how many s a part was judged.

    That part was captured after the kill.
    """
    found = []
    for _ in range(kills):
        watched.until(lambda: watched.is_well() and watched.pid(SPARE), "the line is well, with a spare", 300)
        watched.until(lambda: name in watched.processes(), f"{name} is there")
        time.sleep(1)  # so that its next restart is its first
        kill_ns = time.monotonic_ns()
        kill(watched.processes()[name])
        watched.until(lambda kill_ns=kill_ns: judged_after(watched.ear.verdicts, kill_ns), "a part is judged")
        found.append((kill_ns, (judged_after(watched.ear.verdicts, kill_ns)[0].heard_ns - kill_ns) / 1e9))
    console.print(f"{name}: judged again after {[round(seconds, 3) for _, seconds in found]} s")
    return found


def judged_after(verdicts: list[Heard], since_ns: int) -> list[Heard]:
    """The verdicts on parts that were captured after a moment and judged, in the order in which they came."""
    recent = [one for one in verdicts[-2000:] if one.body["captured_ns"] > since_ns and one.is_judged]
    return sorted(recent, key=lambda one: one.heard_ns)


def blind_s(watched: Watched, since_ns: int) -> float:
    """The longest time in which no part was captured, from a moment on."""
    times = sorted(one.captured_ns for one in list(watched.captured.values()) if one.captured_ns >= since_ns)
    return max((b - a for a, b in pairwise(times)), default=0) / 1e9


def attack(watched: Watched, port: int, messages: int, connections: int, rng: random.Random) -> dict[str, int]:
    """Send forged messages, then hold connections open; count what was dropped and what was acted upon."""
    run, inboxes = watched.run_folder, STAGES[1:]
    (ledger,) = map(Ledger.open, ledgers_in(run))
    before = {stage: watched.dropped(stage) for stage in inboxes}
    for stage in inboxes:
        part = ledger.part(ledger.captured - 1)
        send_to_inbox(run / f"{stage}.ipc", rng, part, watched.stages.run, messages // len(inboxes))
    with half_greetings(port, connections):
        time.sleep(3)
    watched.await_well()
    return {
        "forged_messages": messages // len(inboxes) * len(inboxes),
        "dropped": sum(watched.dropped(stage) - before[stage] for stage in inboxes),
        "acted_upon": sum(one.body["detail"] == FORGED for one in watched.ear.verdicts),
        "slow_connections": connections,
    }


def first_heard(watched: Watched) -> dict[tuple[int, int], Heard]:
    """Each part's verdict that came first."""
    found: dict[tuple[int, int], Heard] = {}
    for one in watched.ear.verdicts:
        found.setdefault(one.id, one)
    return found


def lateness(watched: Watched, kills_ns: list[int]) -> dict[str, Any]:
    """Of the parts since the first single kill: how many were published after their deadline, and how much."""
    late_ms = {True: [0.0], False: [0.0]}
    for one in first_heard(watched).values():
        over_ms = (one.body["published_ns"] - one.body["deadline_ns"]) / 1e6
        if over_ms >= 0 and one.body["captured_ns"] >= kills_ns[0] - DEADLINE_MS * 1_000_000:
            near = any(abs(one.body["published_ns"] - kill_ns) < 2e9 for kill_ns in kills_ns)
            late_ms[near].append(over_ms)
    return {
        "late_where_publish_lives": len(late_ms[False]) - 1,
        "late_where_publish_dies": len(late_ms[True]) - 1,
        "late_by_most_ms": round(max(late_ms[True]), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100, help="number of random faults (default %(default)s)")
    parser.add_argument("--alone", type=int, default=10, help="kills of each process while all is well")
    parser.add_argument(
        "--messages", type=int, default=100_000, help="number of forged messages sent (default %(default)s)"
    )
    parser.add_argument(
        "--connections", type=int, default=10_000, help="number of connections held open (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the random faults (default %(default)s)")
    given = parser.parse_args()
    rng, port = random.Random(given.seed), free_port()
    with tempfile.TemporaryDirectory() as name, line(Path(name), port) as watched:
        faults = at_random(watched, given.kills, rng)
        begin_ns = time.monotonic_ns()
        kills = {name: alone(watched, name, given.alone) for name in ALONE}
        blind = blind_s(watched, begin_ns)
        attacked = attack(watched, port, given.messages, given.connections, rng)
        everyone = set(watched.processes().values())
        watched.stop()
        found = watched.account()
        left = sum(Path(f"/proc/{pid}").exists() for pid in everyone)
    seconds = {name: [each for _, each in found_] for name, found_ in kills.items()}
    print(
        json.dumps(
            {
                "cpu": processor_name(),
                "seed": given.seed,
                "faults": faults,
                "starts": watched.starts,
                **asdict(found),
                "recover_p50_s": {name: round(statistics.median(each), 3) for name, each in seconds.items()},
                "recover_max_s": {name: round(max(each), 3) for name, each in seconds.items()},
                "blind_max_s": round(blind, 3),
                **lateness(watched, [kill_ns for kill_ns, _ in kills["publish"]]),
                **attacked,
                "processes_left": left,
            }
        )
    )
    sys.exit(bool(found.faults or left))


if __name__ == "__main__":
    main()
