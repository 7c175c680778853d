"""However often publish is killed, a part of several cameras has one verdict, and looks are not mixed."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from pathlib import Path

import msgspec
from belt_desk import MS, BeltDesk, Crash
from belt_stations import looks
from belts import Rates, belt
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.belt.layout import Layout
from edge.belt.match import Station
from edge.messages import Verdict


def run_belt(
    desk: BeltDesk, seed: int, rates: Rates, rng: random.Random
) -> tuple[list[Verdict], dict[int, set[str]]]:
    """Let a random belt pass, and kill publish at random: all that it sent, and where each board was seen."""
    line = belt(seed, 3, 12, rates)
    events = sorted(
        (position * MS, camera, board)
        for camera, (positions, boards) in enumerate(zip(line.positions, line.boards, strict=True))
        for position, board in zip(positions, boards, strict=True)
    )
    sent: list[Verdict] = []
    shown: dict[int, set[str]] = {}
    waiting = []

    def publish(now_ns: int) -> None:
        try:
            while (record := desk.publisher.next(lambda: now_ns)) is not None:
                sent.append(msgspec.json.decode(record.body, type=Verdict))
                desk.publisher.sent(record)
        except Crash:
            desk.left[0] = rng.randint(0, 12)
            desk.publisher = desk.publisher_anew()
            for part in waiting:
                if part.entry >= desk.ledgers[part.camera].published and rng.random() < 0.5:
                    desk.judge(part)

    for at_ns, camera, board in events:
        publish(at_ns - 1)
        part = desk.enter(desk.cameras[camera], at_ns)
        if board is not None:
            shown.setdefault(board, set()).add(f"{part.camera} {part.entry}")
        waiting.append(part)
        if rng.random() < 0.95:
            desk.judge(part, 0.9 if rng.random() < 0.2 else 0.1)
    end_ns = events[-1][0]
    while any(ledger.waiting for ledger in desk.ledgers.values()):
        end_ns += 500 * MS
        publish(end_ns)
    return sent, shown


@given(seed=st.integers(0, 2**32), faults=st.sampled_from([0.0, 0.1, 0.3]))
@settings(max_examples=12, deadline=None)
def test_a_killed_publish_gives_no_second_verdict_and_mixes_no_parts(seed: int, faults: float) -> None:
    """Killed before any of its writes, again and again: each part and each look is in exactly one verdict."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        line = belt(seed, 3, 12, Rates())
        stations = tuple(
            Station(name=f"c{n}", at=one.at * MS, window=one.window * MS)
            for n, one in enumerate(line.stations[1:], 1)
        )
        layout = Layout(stations=stations, several=True, eject_at=30_000 * MS, lead_ns=0, min_gap=300 * MS)
        desk = BeltDesk(Path(folder), ("c0", "c1", "c2"), layout, record_bytes=4096)
        desk.left[0] = 5
        sent, shown = run_belt(desk, seed, Rates(lost=faults, doubled=faults, spurious=faults), rng)
        entered = {f"{name} {n}" for name, ledger in desk.ledgers.items() for n in range(ledger.captured)}
    sent = [msgspec.structs.replace(verdict, resent=False) for verdict in sent]
    first = {verdict.number: verdict for verdict in sent}
    assert sorted(first) == list(range(1, len(first) + 1))
    for verdict in sent:
        assert verdict == first[verdict.number]
    taken = Counter(
        f"{look.camera} {look.entry}"
        for verdict in first.values()
        for look in looks(verdict)
        if look.entry is not None
    )
    assert taken == Counter(dict.fromkeys(entered, 1))
    for verdict in first.values():
        names = {f"{look.camera} {look.entry}" for look in looks(verdict) if look.entry is not None}
        assert len([board for board, seen in shown.items() if seen & names]) <= 1
        if verdict.verdict == "pass":
            assert len(names) == 3
