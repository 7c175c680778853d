"""How the line is: what it says while capture is away, and while nothing can be judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from parts import part_of

from edge.memory.stages import Stages
from edge.stages.state import State

SECOND = 1_000_000_000
RECOVERY_S = 5


class Eye:
    """A state, and capture's row in the ledger as capture and supervisor write it; times in seconds."""

    def __init__(self, folder: Path) -> None:
        self.row = Stages.create(folder / "stages", ["capture"])["capture"]
        self.hold = ""
        self.state = State({"camera": self.row}, {"camera": RECOVERY_S * SECOND}, hold=lambda: self.hold)

    def ready(self, at: float) -> None:
        self.row["ready"], self.row["ready_ns"] = 1, at * SECOND
        self.beats(at)

    def beats(self, at: float) -> None:
        self.row["beat_ns"] = at * SECOND

    def fails(self, at: float) -> None:
        self.row["ready"], self.row["failed_ns"] = 0, at * SECOND

    def part(self, at: float, judged: bool = True) -> None:
        captured_ns = round(at * SECOND)
        reason = "hold" if self.hold else "clean" if judged else "dark"
        self.state.note(part_of(0, captured_ns=captured_ns), reason, captured_ns, 1)

    def at(self, at: float) -> str:
        kind, reason = self.state.at(round(at * SECOND))
        assert bool(reason) == (kind in ("blind", "held"))
        return f"{kind}: {reason}" if reason else kind


@pytest.fixture
def eye(tmp_path: Path) -> Eye:
    return Eye(tmp_path)


def test_a_line_without_parts_is_idle(eye: Eye) -> None:
    """Before capture is started, while it waits for the first part, and after the last one."""
    assert eye.at(0) == "idle"
    eye.ready(1)
    assert eye.at(2) == "idle"
    eye.part(2.5)
    eye.beats(2.5)
    assert eye.at(3) == "judging"
    eye.beats(9)
    assert eye.at(9) == "idle"


def test_a_capture_that_failed_is_blind_until_a_part_comes(eye: Eye) -> None:
    """While it is away, while it is opened anew, and while it stands but has shown nothing."""
    eye.ready(1)
    eye.part(2)
    eye.fails(10)
    assert eye.at(11) == "blind: capture failed 1 s ago, and no part has come since"
    eye.ready(12)
    assert eye.at(13).startswith("blind")
    eye.part(13.5)
    eye.beats(14)
    assert eye.at(14) == "judging"


def test_a_capture_that_stands_long_enough_sees_again(eye: Eye) -> None:
    """On a line to which no parts come; a camera that flaps never stands for so long."""
    for failed in (10, 13, 16):
        eye.fails(failed)
        eye.ready(failed + 1)
        for at in np.arange(failed + 1, failed + 3, 0.5):
            eye.beats(float(at))
            assert eye.at(float(at)).startswith("blind: capture failed"), at
    eye.beats(22.5)
    assert eye.at(22.5) == "idle"


def test_a_capture_that_hangs_is_blind(eye: Eye) -> None:
    """It stands in its driver for ever, say; also where parts came shortly before."""
    eye.ready(1)
    eye.part(2)
    eye.beats(2)
    assert eye.at(3.9) == "judging"
    assert eye.at(4.5) == "blind: capture has shown no sign of life for 2 s"


def test_parts_that_cannot_be_judged_make_a_line_blind(eye: Eye) -> None:
    """So many in so long a time, all of them; one that is judged ends it."""
    eye.ready(1)
    for at in (2, 3, 4):
        eye.beats(at)
        assert eye.at(at) in ("judging", "idle")
        eye.part(at, judged=False)
    assert eye.at(4) == "blind: 3 parts, none judged: dark"
    eye.part(4.5)
    assert eye.at(4.5) == "judging"


@pytest.mark.parametrize(
    ("times", "blind"),
    [((2, 12), False), ((2, 3, 4), True), ((2, 2.5, 3.9), False), ((2, 2.1, 2.2, 2.3, 4), True)],
    ids=["two", "three", "three, too close", "five"],
)
def test_a_line_is_blind_from_the_third_unknown_part_on(
    eye: Eye, times: tuple[float, ...], blind: bool
) -> None:
    """One part or two may be bad by chance; three over two seconds or more are a fault of the line."""
    eye.ready(1)
    for at in times:
        eye.part(at, judged=False)
    eye.beats(times[-1])
    assert eye.at(times[-1]).startswith("blind") == blind


def test_a_line_that_is_held_says_so_and_why(eye: Eye) -> None:
    """However many parts it rejects meanwhile; and it is not blind for them when it is released."""
    eye.ready(0)
    eye.hold = "cleaning"
    for at in range(1, 9):
        eye.beats(at)
        eye.part(at)
        assert eye.at(at) == "held: cleaning"
    eye.hold = ""
    assert eye.at(8) == "judging"


def test_a_held_line_whose_camera_fails_is_blind(eye: Eye) -> None:
    """A part may pass unseen then, which is worse than a line that rejects all."""
    eye.ready(0)
    eye.hold = "cleaning"
    eye.fails(5)
    assert eye.at(6).startswith("blind: capture failed")
