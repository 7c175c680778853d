"""Descriptors, memory, the disk or the processor run short: no part is lost, and the line recovers."""

from __future__ import annotations

import multiprocessing
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from account import Heard
from watched import Watched, kill, stopped

from edge.line.plan import SPARE
from edge.line.run_folder import ledgers_in
from edge.memory.ledger import Ledger
from edge.memory.stages import STAGES

LIMITS = {"descriptors": resource.RLIMIT_NOFILE, "memory": resource.RLIMIT_AS}


@contextmanager
def limited(pid: int, what: str, most: int) -> Iterator[None]:
    """Let a running process have no more of a resource while in the block."""
    soft, hard = resource.prlimit(pid, LIMITS[what])
    resource.prlimit(pid, LIMITS[what], (most, hard))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # it may have ended for want of it
            resource.prlimit(pid, LIMITS[what], (soft, hard))


def more_verdicts(line: Watched, count: int) -> Callable[[], bool]:
    seen = len(line.ear.verdicts)
    return lambda: len(line.ear.verdicts) >= seen + count


@pytest.mark.parametrize("what", LIMITS)
@pytest.mark.parametrize("stage", [*STAGES, "supervisor"])
def test_a_process_that_gets_no_more_costs_no_verdict(accounted: Watched, stage: str, what: str) -> None:
    """It goes on with what it has, or it ends and is started again."""
    with limited(accounted.processes()[stage], what, 3 if what == "descriptors" else 2**20):
        accounted.until(more_verdicts(accounted, 20), "verdicts go on")


def test_a_stage_that_gets_no_memory_at_its_start_is_tried_again(accounted: Watched) -> None:
    """Until there is room, its parts are late; the rest of the line goes on."""
    there, said = accounted.processes(), accounted.log.stat().st_size
    server = there["fork server"]  # what it forks has its limits
    with limited(server, "memory", _virtual_bytes(server) + 2**26):
        for name in {"infer", SPARE} & there.keys():
            kill(there[name])
        accounted.until(lambda: accounted.log.read_text()[said:].count("ERROR infer: ") > 1, "infer fails")
        accounted.until(more_verdicts(accounted, 20), "verdicts go on")


def _virtual_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


def _busy() -> None:
    while True:
        pass


def test_other_programs_that_take_all_cores_cost_no_verdict(accounted: Watched) -> None:
    """Twice as many as there are cores."""
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_busy, daemon=True) for _ in range(2 * (os.cpu_count() or 1))]
    for one in others:
        one.start()
    try:
        accounted.until(more_verdicts(accounted, 60), "verdicts go on")
    finally:
        for one in others:
            one.kill()
            one.join()


def test_no_free_slot_is_told_part_by_part(accounted: Watched) -> None:
    """While publish stands still nothing is given back: what comes then is unknown, `overrun` or `late`."""
    before = len(accounted.ear.verdicts)
    (ledger,) = map(Ledger.open, ledgers_in(accounted.run_folder))
    with stopped(accounted.processes()["publish"]):
        accounted.until(lambda: ledger.part(ledger.captured - 1).slot < 0, "parts find no slot")
    accounted.until(lambda: overruns(accounted.ear.verdicts[before:]), "they are told")


def overruns(verdicts: list[Heard]) -> list[Heard]:
    return [verdict for verdict in verdicts if verdict.body["reason"] == "overrun"]


def mounted(folder: Path, options: str) -> bool:
    """Mount memory of 1 MB at the folder; False where this user may not."""
    return (
        os.getuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "none", folder], capture_output=True
        ).returncode
    )


def test_a_full_and_a_read_only_state_folder_keep_no_line_from_going_on(
    accounted: Watched, tmp_path: Path
) -> None:
    """Capture, which needs a number from there, starts again as soon as the folder can be written."""
    state = accounted.log.parent / "state/linejudge"
    kept = {path.name: path.read_bytes() for path in state.iterdir()}
    if not mounted(state, "size=64k"):
        pytest.skip("only root may mount a file system that is full")
    try:
        for name, data in kept.items():
            (state / name).write_bytes(data)
        for how in ("full", "read-only"):
            # A capture that ends before its first part needs no new number.
            ledger = Ledger.open(ledgers_in(accounted.run_folder)[0])
            accounted.until(lambda of=ledger: of.last_sequence(of.epoch), "a part is captured")
            said = accounted.log.stat().st_size
            if how == "full":
                with suppress(OSError):
                    (state / "full").write_bytes(bytes(2**17))
            else:
                subprocess.run(["mount", "-o", "remount,ro", state], check=True)
            kill(accounted.processes()["capture"])
            accounted.until(
                lambda said=said: "capture: cannot be started" in accounted.log.read_text()[said:], how
            )
            subprocess.run(["mount", "-o", "remount,rw", state], check=True)
            (state / "full").unlink(missing_ok=True)
            accounted.await_well()
    finally:
        subprocess.run(["umount", state], check=True)
