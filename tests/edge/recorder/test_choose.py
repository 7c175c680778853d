"""Of which parts a picture is kept."""

from __future__ import annotations

import msgspec
from parts import VERDICT

from edge.recorder.choose import is_wanted


def numbered(number: int) -> str:
    return f"1764540000-{number}"


def test_a_share_of_the_passed_parts_is_chosen() -> None:
    """With passes = 0.01, about one passed part in a hundred has a picture; with 0 none, with 1 all."""
    parts = [msgspec.structs.replace(VERDICT, part_id=numbered(i)) for i in range(20_000)]
    assert 150 < sum(is_wanted(part, 0.01) for part in parts) < 250
    assert not any(is_wanted(part, 0.0) for part in parts)
    assert all(is_wanted(part, 1.0) for part in parts)


def test_the_choice_can_be_repeated() -> None:
    """The same part of the same line is always chosen or never, and another line chooses other parts."""
    parts = [msgspec.structs.replace(VERDICT, part_id=numbered(i)) for i in range(1000)]
    chosen = [is_wanted(part, 0.5) for part in parts]
    assert [is_wanted(part, 0.5) for part in parts] == chosen
    assert [is_wanted(msgspec.structs.replace(part, line="other"), 0.5) for part in parts] != chosen


def test_each_part_that_did_not_pass_has_a_picture() -> None:
    """Rejected and unknown parts are never left out, whatever the share is."""
    for kind, reason in (("reject", "defect"), ("unknown", "registration")):
        assert is_wanted(msgspec.structs.replace(VERDICT, verdict=kind, reason=reason), 0.0)
