"""Parts on lanes and in batches, in simulated time."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from edge.belt.track import NEVER
from edge.stages.schedule import Schedule

MS = 1_000_000


T = TypeVar("T")


class Plan(Schedule[T]):
    """A schedule, and the deadline of each part, which a test may move while the part waits."""

    def __init__(self, *, lanes: int, batch: int, guard_ns: int) -> None:
        super().__init__(lanes=lanes, batch=batch, guard_ns=guard_ns)
        self.deadlines: dict[T, int] = {}

    def put(self, part: T, deadline_ns: int) -> None:
        self.deadlines[part] = deadline_ns
        self.enter(part)

    def start(self, now_ns: int) -> list[T]:
        return self.next(now_ns, lambda part, at_ns: self.deadlines[part])


@dataclass
class Gpu:
    """One engine for copies and one for networks, each doing what was queued in its order, lanes as streams."""

    copy_ns: Callable[[int], int]
    network_ns: Callable[[int], int]
    copies_free_ns: int = 0
    networks_free_ns: int = 0

    def run(self, count: int, now_ns: int) -> int:
        """Queue a batch; returns when it is done."""
        self.copies_free_ns = max(self.copies_free_ns, now_ns) + self.copy_ns(count)
        self.networks_free_ns = max(self.networks_free_ns, self.copies_free_ns) + self.network_ns(count)
        return self.networks_free_ns


@dataclass
class Run:
    """What became of the parts of a simulated stage."""

    done_ns: dict[int, int] = field(default_factory=dict)
    batches: list[list[int]] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return len(self.done_ns) / max(self.done_ns.values()) * 1e9


def simulate(schedule: Plan[int], gpu: Gpu, captured_ns: list[int], deadline_ms: float) -> Run:
    """Run a stage as `relay` does: take what came, start what the schedule says, or wait for the first lane."""
    now_ns, coming, run = 0, list(captured_ns), Run()
    ends: list[int] = []
    part = 0
    while part < len(coming) or not schedule.is_idle:
        if schedule.is_idle:
            now_ns = max(now_ns, coming[part])
        while schedule.has_room and part < len(coming) and coming[part] <= now_ns:
            schedule.put(part, coming[part] + round(deadline_ms * MS))
            part += 1
        if batch := schedule.start(now_ns):
            run.batches.append(batch)
            heapq.heappush(ends, gpu.run(len(batch), now_ns))
        elif schedule.in_flight and (schedule.is_full or part == len(coming) or coming[part] > now_ns):
            now_ns = max(now_ns, heapq.heappop(ends))
            run.done_ns |= dict.fromkeys(schedule.done(now_ns), now_ns)
    return run


def steady(count: int, period_ms: float) -> list[int]:
    return [round(number * period_ms * MS) for number in range(count)]


def test_two_lanes_copy_while_they_compute() -> None:
    """Where a copy takes as long as the network, two lanes do at least 1.8 times as much as one."""
    speed = {}
    for lanes in (1, 2, 3):
        schedule = Plan[int](lanes=lanes, batch=1, guard_ns=0)
        run = simulate(schedule, Gpu(lambda n: MS, lambda n: MS), [0] * 1000, deadline_ms=1e6)
        assert sorted(run.done_ns) == list(range(1000))
        speed[lanes] = run.per_second
    assert speed[2] / speed[1] > 1.8
    assert speed[3] == pytest.approx(speed[2])


def test_parts_that_wait_together_go_together() -> None:
    """Four cameras at once on an idle GPU are one batch; a part that comes alone does not wait for company."""
    captured = [*sorted(steady(10, 20) * 4), 1000 * MS]
    schedule = Plan[int](lanes=2, batch=8, guard_ns=0)
    run = simulate(schedule, Gpu(lambda n: 0, lambda n: MS), captured, deadline_ms=100)
    assert [len(batch) for batch in run.batches] == [4] * 10 + [1]
    assert max(run.done_ns[part] - captured[part] for part in range(41)) == MS


def test_a_batch_is_never_larger_than_the_engine_takes() -> None:
    """What does not fit goes with the next lane, in order."""
    schedule = Plan[int](lanes=2, batch=3, guard_ns=0)
    run = simulate(schedule, Gpu(lambda n: 0, lambda n: MS), [0] * 8, deadline_ms=100)
    assert run.batches == [[0, 1, 2], [3, 4, 5], [6, 7]]


def test_a_batch_is_as_large_as_the_first_deadline_leaves_time_for() -> None:
    """Where four at once would come too late and two would not, it is two."""
    gpu = Gpu(lambda n: 0, lambda n: 10 * MS * n)
    schedule = Plan[int](lanes=1, batch=4, guard_ns=0)
    run = simulate(schedule, gpu, [*steady(20, 100), *[3000 * MS] * 4], deadline_ms=25)
    assert [len(batch) for batch in run.batches[:20]] == [1] * 20
    assert run.batches[20] == [20, 21]
    assert run.done_ns[20] - 3000 * MS == 20 * MS


def test_large_batches_are_tried_again() -> None:
    """A batch that took long once does not keep parts apart for good."""
    slow = True

    def network(count: int) -> int:
        return 200 * MS if slow and count == 4 else MS

    schedule = Plan[int](lanes=1, batch=4, guard_ns=0)
    gpu = Gpu(lambda n: 0, network)
    simulate(schedule, gpu, [0] * 4, deadline_ms=1000)
    slow = False
    gpu = Gpu(lambda n: 0, network)
    run = simulate(schedule, gpu, sorted(steady(100, 100) * 4), deadline_ms=50)
    sizes = [len(batch) for batch in run.batches]
    assert sizes[0] < 4
    assert set(sizes[-20:]) == {4}


def test_parts_that_would_be_too_late_are_passed_over() -> None:
    """Under overload the stage works on parts that it can finish, and not on those it cannot."""
    schedule = Plan[str](lanes=1, batch=1, guard_ns=10 * MS)
    for number in range(20):
        schedule.put("before", 1000 * number * MS + 500 * MS)
        assert schedule.start(1000 * number * MS) == ["before"]
        assert schedule.done(1000 * number * MS + 60 * MS) == ["before"]
    now_ns = 30_000 * MS
    schedule.put("too late", now_ns + 65 * MS)
    schedule.put("in time", now_ns + 75 * MS)
    assert schedule.start(now_ns) == ["in time"]


def test_one_slow_part_does_not_stop_the_line() -> None:
    """After a part that took longer than any deadline, parts are soon taken on again."""
    schedule = Plan[int](lanes=1, batch=1, guard_ns=10 * MS)
    schedule.put(0, 100_000 * MS)
    schedule.start(0)
    schedule.done(10_000 * MS)
    passed_over = 0
    for part in range(1, 100):
        schedule.put(part, 20_000 * MS + 200 * MS)
        if schedule.start(20_000 * MS):
            break
        passed_over += 1
    assert 0 < passed_over < 40


@pytest.mark.parametrize("lanes", [1, 2])
def test_an_overloaded_stage_still_does_what_it_can(lanes: int) -> None:
    """Half of the parts of twice too fast a line are judged in time, and none of them is late."""
    schedule = Plan[int](lanes=lanes, batch=1, guard_ns=10 * MS)
    captured = steady(2000, 5)
    run = simulate(schedule, Gpu(lambda n: 0, lambda n: 10 * MS), captured, deadline_ms=100)
    late = [part for part, done in run.done_ns.items() if done > captured[part] + 90 * MS]
    assert late == []
    assert len(run.done_ns) > 0.48 * 2000


def test_an_overloaded_gpu_is_never_idle() -> None:
    """Also while parts are passed over, the next one that can be done goes onto the lane at once."""
    gpu, captured = Gpu(lambda n: 5 * MS, lambda n: 5 * MS), steady(4000, 4.9)
    run = simulate(Plan[int](lanes=2, batch=1, guard_ns=10 * MS), gpu, captured, deadline_ms=100)
    assert len(run.done_ns) < 4000
    assert run.per_second > 0.99 * 200


def test_batches_carry_what_single_parts_could_not() -> None:
    """Where one part takes 4 ms and eight take 6 ms, a line of 2 ms a part is judged whole and in time."""
    captured = steady(2000, 2)
    judged = {}
    for batch in (1, 8):
        schedule = Plan[int](lanes=2, batch=batch, guard_ns=10 * MS)
        gpu = Gpu(lambda n: 0, lambda n: 4 * MS + (n - 1) * 2 * MS // 7)
        run = simulate(schedule, gpu, captured, deadline_ms=50)
        judged[batch] = sum(done <= captured[part] + 40 * MS for part, done in run.done_ns.items())
    assert judged[8] == 2000
    assert judged[1] < 1100


def test_a_batch_may_be_done_before_an_older_one() -> None:
    """Its lane takes the next part, and the older batch stays in work."""
    schedule = Plan[str](lanes=2, batch=1, guard_ns=0)
    for part in ("a", "b", "c"):
        schedule.put(part, 1000 * MS)
    assert schedule.start(0) == ["a"]
    assert schedule.start(0) == ["b"]
    assert schedule.done(5 * MS, 1) == ["b"]
    assert schedule.start(5 * MS) == ["c"]
    assert schedule.left() == ["a", "c"]
    assert schedule.done(20 * MS, 0) == ["a"]
    assert schedule.done(25 * MS, 0) == ["c"]
    assert schedule.is_idle


def test_a_part_that_could_not_be_started_leaves_its_company_in_flight() -> None:
    """And a lane on which nothing could be started is idle again."""
    schedule = Plan[str](lanes=1, batch=3, guard_ns=0)
    for part in ("a", "b", "c", "d"):
        schedule.put(part, 100 * MS)
    batch = schedule.start(0)
    assert batch == ["a", "b", "c"]
    schedule.refused(["b"])
    assert schedule.left() == ["a", "c", "d"]
    assert schedule.start(0) == []
    assert schedule.done(MS) == ["a", "c"]
    assert schedule.start(MS) == ["d"]
    schedule.refused(["d"])
    assert schedule.is_idle


def taught(batch: int = 1) -> Plan[str]:
    """A schedule for one lane on which a part has taken 60 ms, and a guard of 10 ms."""
    schedule = Plan[str](lanes=1, batch=batch, guard_ns=10 * MS)
    schedule.put("before", 1000 * MS)
    assert schedule.start(0) == ["before"]
    assert schedule.done(60 * MS) == ["before"]
    return schedule


def test_a_part_that_was_given_more_time_is_not_skipped() -> None:
    """It had too little time when it came. While it waited for a lane, its belt slowed down or stopped."""
    for deadline_ns in (200 * MS, NEVER):
        schedule = taught()
        schedule.put("first", 1000 * MS)
        assert schedule.start(60 * MS) == ["first"]
        schedule.put("waiting", 130 * MS)
        assert schedule.start(100 * MS) == []
        assert schedule.done(120 * MS) == ["first"]
        schedule.deadlines["waiting"] = deadline_ns
        assert schedule.start(120 * MS) == ["waiting"]


def test_a_part_whose_time_ran_out_sooner_leaves_the_lane_to_the_next() -> None:
    """Its belt ran faster while it waited, so that it cannot be done in time any more."""
    schedule = taught(batch=2)
    schedule.put("hurried", 1000 * MS)
    schedule.put("next", 1000 * MS)
    schedule.deadlines["hurried"] = 125 * MS
    assert schedule.start(60 * MS) == ["next"]
    assert schedule.left() == ["next"]


def test_parts_start_in_the_order_of_their_deadlines_as_they_are_by_then() -> None:
    """Not in the order in which they came: the last camera of a belt sees a part long after the first one."""
    schedule = taught(batch=3)
    for part in ("a", "b", "c"):
        schedule.put(part, 200 * MS)
    schedule.deadlines |= {"c": 135 * MS, "a": 190 * MS}
    assert schedule.start(60 * MS) == ["c"]  # two together would need 120 ms
    schedule.deadlines |= {"b": 230 * MS, "a": NEVER}
    assert schedule.done(120 * MS) == ["c"]
    assert schedule.start(120 * MS) == ["b"]
    assert schedule.left() == ["b", "a"]
