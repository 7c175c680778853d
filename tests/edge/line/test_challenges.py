"""What a line makes of its challenge tests: it is held until one on the belt passes, over any restart."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.errors import LineError
from edge.line.challenges import Challenges
from edge.line.due import LastTest
from edge.line.hold import Hold
from edge.memory.stages import Stages
from edge.recipe import Challenge

EVERY = Challenge(every_h=8)


class Desk:
    """A line's challenges and hold, as the supervisor makes them at each start; the state folder stays."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._starts = folder, 0
        self.start()

    def start(self, asked: Challenge | None = EVERY) -> None:
        self._starts += 1
        self.stages = Stages.create(self.folder / f"stages{self._starts}", ["publish"])
        self.hold = Hold(self.folder, "pcb", self.stages)
        self.challenges = Challenges(self.folder, "pcb", asked, self.hold)
        self.now_ns = time.monotonic_ns()

    def tick(self, after_s: float = 2.0) -> None:
        self.now_ns += round(after_s * 1e9)
        self.challenges.tick(self.now_ns)

    def testing(self, how: str = "belt") -> None:
        self.challenges.testing({"how": how, "for_s": 10.0})
        self.now_ns = time.monotonic_ns()

    def tested(self, passed: bool, how: str = "belt") -> None:
        keys = {"passed": passed, "how": how, "by": "anna", "report": "r.json", "sha256": "0" * 64}
        self.challenges.tested(keys)

    def grow(self, hours: float) -> None:
        """Let the last test become older: as it was kept so long ago."""
        path = self.folder / "pcb.challenge.json"
        last = msgspec.json.decode(path.read_bytes(), type=LastTest)
        older_ns = last.age_ns + round(hours * 3.6e12)
        path.write_bytes(msgspec.json.encode(msgspec.structs.replace(last, age_ns=older_ns)))
        self.start()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_line_is_held_before_its_first_part_until_it_was_tested(desk: Desk) -> None:
    """Already when its memory is made; and it passes parts once a test on the belt has passed."""
    assert "no challenge test was made yet" in desk.stages.hold
    desk.testing()
    assert desk.stages.hold == ""
    desk.tested(True)
    desk.tick()
    assert desk.stages.hold == ""
    desk.start()
    assert desk.stages.hold == ""
    desk.grow(8.1)
    assert "overdue" in desk.stages.hold


def test_a_test_that_fails_holds_the_line(desk: Desk) -> None:
    """Of either kind, and over a restart; only a test on the belt that passes helps."""
    for how in ("belt", "folder"):
        desk.testing()
        desk.tested(True)
        assert desk.stages.hold == ""
        desk.testing(how)
        desk.tested(False, how)
        assert "failed" in desk.stages.hold
        desk.start()
        assert "failed" in desk.stages.hold
        desk.tested(True, "folder")
        assert "failed" in desk.stages.hold


def test_pictures_from_files_do_not_renew_the_time_until_the_next_test(desk: Desk) -> None:
    """Camera and ejector are not in such a test; nor does the line pass parts during it."""
    desk.testing("folder")
    assert desk.stages.hold
    desk.tested(True, "folder")
    assert "no challenge test was made yet" in desk.stages.hold


def test_a_test_that_is_given_up_holds_the_line_again(desk: Desk) -> None:
    """When nobody has laid a part on for as long as was asked for."""
    desk.testing()
    desk.tick(9.0)
    assert desk.stages.hold == ""
    desk.tick(2.0)
    assert "no challenge test was made yet" in desk.stages.hold


def test_what_a_person_held_no_test_releases(desk: Desk) -> None:
    """It is told before the first part of the test."""
    desk.hold.set("cleaning", "bo", "person")
    with pytest.raises(LineError, match="held: cleaning: release it first"):
        desk.testing()
    desk.tested(True)
    assert desk.stages.hold == "cleaning"


def test_a_person_cannot_release_what_a_test_has_to(desk: Desk) -> None:
    """The line would be held again a second later; so it says what to do."""
    with pytest.raises(LineError, match="edge ctl challenge"):
        desk.hold.asked_to_release({})
    assert desk.stages.hold


def test_a_hold_by_a_person_that_ends_leaves_the_one_for_a_test(desk: Desk) -> None:
    """At the next check."""
    desk.hold.set("cleaning", "bo", "person")
    desk.hold.asked_to_release({})
    desk.tick()
    assert "no challenge test was made yet" in desk.stages.hold


def test_a_recipe_may_ask_for_an_alarm_only(desk: Desk) -> None:
    """The fault is told, and parts pass."""
    desk.testing()
    desk.tested(True)
    desk.start(Challenge(every_h=8, overdue="alarm"))
    assert desk.challenges.fault == ""
    desk.tested(False)
    assert "failed" in desk.challenges.fault
    assert desk.stages.hold == ""


def test_a_recipe_that_asks_for_no_test_any_more_releases_the_line(desk: Desk) -> None:
    """Nothing could release it otherwise."""
    assert desk.stages.hold
    desk.start(None)
    assert desk.stages.hold == ""
    desk.tick()
    assert desk.challenges.fault == ""


def test_the_age_is_kept_while_the_line_runs(desk: Desk) -> None:
    """So that a machine whose clock is set back while it is off finds no younger test."""
    desk.testing()
    desk.tested(True)
    path = desk.folder / "pcb.challenge.json"
    before = msgspec.json.decode(path.read_bytes(), type=LastTest)
    desk.tick(61.0)
    desk.tick(61.0)
    after = msgspec.json.decode(path.read_bytes(), type=LastTest)
    assert after.at == before.at
    assert after.age_ns > before.age_ns


def test_a_damaged_file_is_no_test(desk: Desk) -> None:
    """Then one is due."""
    desk.testing()
    desk.tested(True)
    (desk.folder / "pcb.challenge.json").write_bytes(b"{}")
    desk.start()
    assert "no challenge test was made yet" in desk.stages.hold


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"how": "belt", "for_s": "long"},
        {"how": "belt", "for_s": -1.0},
        {"how": "belt", "for_s": 1e9},
        {"how": "air", "for_s": 1.0},
        {"how": "belt", "for_s": 1.0, "more": 1},
    ],
)
def test_a_wrong_command_lifts_no_hold(desk: Desk, keys: dict[str, Any]) -> None:
    """It is an error that names the key."""
    with pytest.raises((LineError, msgspec.ValidationError)):
        desk.challenges.testing(keys)
    assert desk.stages.hold
