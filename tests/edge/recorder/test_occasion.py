"""When the black box is written."""

from __future__ import annotations

from itertools import pairwise

import msgspec
from parts import VERDICT

from edge.recipe import BlackBox
from edge.recorder.occasion import MOST_WAIT_NS, Occasion

PASS = VERDICT
UNKNOWN = msgspec.structs.replace(VERDICT, verdict="unknown", reason="view")
REJECT = msgspec.structs.replace(VERDICT, verdict="reject", reason="defect")
S = 1_000_000_000


def test_some_parts_follow_the_event() -> None:
    """The file is written when as many parts as wanted came after the unknown part, and once."""
    occasion = Occasion(BlackBox(after=2))
    for verdict, due in ((PASS, ""), (UNKNOWN, ""), (PASS, ""), (UNKNOWN, "unknown-view"), (PASS, "")):
        occasion.heard(verdict, S)
        assert occasion.due(S) == due


def test_a_line_that_stands_still_gets_its_file_too() -> None:
    """If no parts follow, the file is written after a while; if the line ends, at once."""
    occasion = Occasion(BlackBox(after=2))
    occasion.failed("infer", S)
    assert occasion.due(S + MOST_WAIT_NS - 1) == ""
    assert occasion.due(S + MOST_WAIT_NS) == "fault-infer"
    occasion.failed("capture", 9 * S)
    assert occasion.due(9 * S, ending=True) == "fault-capture"
    assert occasion.due(9 * S, ending=True) == ""


def test_only_what_the_recipe_names_is_an_event() -> None:
    """By default rejects are none; each kind of event can be named."""
    for on, expected in (
        ((), []),
        (("unknown",), ["unknown-view"]),
        (("reject",), ["reject-defect"]),
        (("fault",), ["fault-infer"]),
        (BlackBox().on, ["unknown-view", "fault-infer"]),
    ):
        occasion, found = Occasion(BlackBox(on=on, after=0)), []
        for event in (PASS, UNKNOWN, REJECT):
            occasion.heard(event, S)
            found.append(occasion.due(S))
        occasion.failed("infer", S)
        found.append(occasion.due(S))
        assert [why for why in found if why] == expected


def test_a_line_that_rejects_everything_does_not_fill_the_disk() -> None:
    """Some files are written at once, then one in each share of an hour; the others are counted."""
    occasion = Occasion(BlackBox(on=("reject",), after=0, per_hour=6))
    written = []
    for second in range(3 * 3600):
        occasion.heard(REJECT, (second + 1) * S)
        if occasion.due((second + 1) * S):
            written.append(second)
    assert written[:6] == [0, 1, 2, 3, 4, 5]
    assert 6 + 17 <= len(written) <= 6 + 18
    assert all(later - earlier >= 590 for earlier, later in pairwise(written[6:]))
    assert occasion.skipped == 3 * 3600 - len(written)
