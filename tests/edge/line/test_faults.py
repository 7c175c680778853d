"""What processes of a line report becomes an alarm: journal, recorder, and subscribers that do not confirm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
from lines import Subscriber, line_name, running, stop, until

from edge.journal.condition import Condition, tell
from edge.line.ask import ask
from edge.line.faults import Faults, late_subscribers
from edge.memory.confirmed import Confirmation, Confirmed
from edge.memory.recorded import Recorded
from edge.recipe import Recipe

MS = 1_000_000
RECIPE = {
    "line": "pcb",
    "bundle": "b",
    "source": {"kind": "synthetic", "width": 64, "height": 64},
}


def recipe_with(**sections: object) -> Recipe:
    return msgspec.convert({**RECIPE, **sections}, Recipe)


def test_a_subscriber_that_does_not_confirm_in_time_is_named(tmp_path: Path) -> None:
    """It is told once its oldest open verdict is too old, and not while it keeps up or has heard nothing."""
    confirmed = Confirmed.create(tmp_path / "confirmed", ["plc-1", "plc-2"])
    confirmed["plc-1"] = Confirmation(number=41, at_ns=900 * MS, due_ns=1000 * MS)
    assert late_subscribers(confirmed, 500, 1500 * MS) == ""
    assert late_subscribers(confirmed, 500, 1501 * MS).startswith("plc-1 has not confirmed verdict 42: ")
    confirmed["plc-2"] = Confirmation(number=0, at_ns=0, due_ns=1 * MS)
    assert "plc-2 has not confirmed verdict 1: " in late_subscribers(confirmed, 500, 1501 * MS)
    confirmed["plc-1"] = Confirmation(number=42, at_ns=1501 * MS, due_ns=0)
    confirmed["plc-2"] = Confirmation(number=42, at_ns=1501 * MS, due_ns=0)
    assert late_subscribers(confirmed, 500, 9000 * MS) == ""


def test_a_journal_and_a_recorder_that_cannot_write_are_told(tmp_path: Path) -> None:
    """And so is the end of each; a line without them has no such fault."""
    assert Faults(recipe_with(), tmp_path, None).at(0) == {}
    recipe = recipe_with(journal={"folder": "/journal"}, recorder={"folder": "/pictures"})
    recorded = Recorded.create(tmp_path)
    faults = Faults(recipe, tmp_path, recorded)
    assert faults.at(0) == {"journal": "", "recorder": ""}
    tell(tmp_path, Condition(error="/journal: no space left on device"))
    recorded["is_full"] = 1
    found = faults.at(0)
    assert found["journal"] == "/journal: no space left on device"
    assert "cannot write pictures into /pictures" in found["recorder"]
    tell(tmp_path, Condition())
    recorded["is_full"] = 0
    assert faults.at(0) == {"journal": "", "recorder": ""}


def test_a_line_whose_subscriber_never_confirms_raises_the_alarm(
    tmp_path: Path, endless: Callable[..., Path]
) -> None:
    """The ejector's program has died, and the line says so although it judges well."""
    recipe = endless()
    asked = f'replay = "ipc://{tmp_path}/replay.ipc"\nconfirm = ["plc-1"]\nconfirm_ms = 100'
    recipe.write_text(recipe.read_text().replace("[publish]\n", f"[publish]\n{asked}\n"))
    with Subscriber(tmp_path) as subscriber, running(recipe) as line:
        until(lambda: subscriber.alarms, "an alarm is heard", line)
        found = ask(line_name(tmp_path), "alarms")["alarms"]
        stop(line)
    assert [(alarm["alarm"], alarm["cause"]) for alarm in found] == [("subscriber", "line")]
    assert found[0]["text"].startswith("plc-1 has not confirmed verdict 1: within 100 ms")
