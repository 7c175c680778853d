"""What passes while nobody looks is accounted for: each trigger that the source counted has one verdict."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lines import Subscriber, judged, running, stop, until, write_recipe

from edge.memory.ledger import Ledger


def counts(ledger: Ledger) -> list[int]:
    return [ledger.part(entry).count for entry in range(ledger.captured)]


def test_triggers_that_pass_while_capture_is_away_are_missing(
    tmp_path: Path, constant_bundle: Callable[..., Path]
) -> None:
    """However often it is killed, the parts are triggers 1, 2, 3, ... of the source, without a gap."""
    source = 'kind = "synthetic"\nwidth = 64\nheight = 64\nfps = 40\nviews = 1'
    more = '[preprocess]\nmin_contrast = 0\nregister = { motion = "none" }'
    recipe = write_recipe(tmp_path, constant_bundle(), source, more)
    with Subscriber(tmp_path) as subscriber, running(recipe) as line:
        for number in (signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP):
            until(judged(subscriber, 20), "parts are judged", line)
            pid = line.pid("capture")
            os.kill(pid, number)
            if number == signal.SIGSTOP:
                until(lambda: line.ledger().waiting == 0, "what it captured has its verdict", line)
                with suppress(ProcessLookupError):  # the supervisor may have ended it, since it hung
                    os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid: line.pid("capture") != pid, "capture is back", line)
        until(judged(subscriber, 20), "parts are judged again", line)
        ledger = line.ledger()
        away_s = float(line.stages()["capture"][0]["away_ns"]) / 1e9
        until(lambda: subscriber.heartbeats[-1]["unwatched_s"] == round(away_s, 3), "it is told", line)
        said = stop(line)
        until(lambda: len(set(subscriber.ids())) >= ledger.captured, "the last verdict is heard")
    assert counts(ledger) == list(range(1, ledger.captured + 1))
    unseen = [ledger.part(entry).part_id for entry in range(ledger.captured) if ledger.part(entry).is_missing]
    heard = {verdict.part_id: verdict.reason for _, verdict in subscriber.verdicts}
    assert [part_id for part_id, reason in heard.items() if reason == "missing"] == unseen
    assert len({part_id.partition("-")[0] for part_id in unseen}) >= 3
    assert "nobody saw" in said
    assert away_s > 0
    assert subscriber.heartbeats[0]["unwatched_s"] == 0
