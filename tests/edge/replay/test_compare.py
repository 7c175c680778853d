"""What of a verdict can be computed again, and what counts as different."""

from __future__ import annotations

import msgspec
import pytest
from parts import VERDICT

from edge.messages import UNKNOWN_REASONS, Look, Region, Verdict
from edge.replay.compare import differences, done_ns_of, why_left_out


def altered(**fields: object) -> Verdict:
    verdict: Verdict = msgspec.structs.replace(VERDICT, **fields)
    return verdict


def test_each_field_and_each_bit_counts() -> None:
    """A score that differs in its last bit is different, and so is a region."""
    assert differences(VERDICT, altered(detail="no master in /another/folder")) == {}
    score = 0.12000000000000001
    assert score != 0.12
    assert differences(VERDICT, altered(score=score)) == {"score": (0.12, score)}
    region = Region(x=1, y=2, w=3, h=4, area_px=12, score=0.5, kind="open")
    found = differences(VERDICT, altered(regions=[region], reason="defect"))
    assert set(found) == {"regions", "reason"}


@pytest.mark.parametrize("reason", UNKNOWN_REASONS)
def test_what_came_from_the_line_and_not_from_the_frame_is_left_out(reason: str) -> None:
    """A replay blames no difference on what a frame cannot show again; each reason is one or the other."""
    of_the_frame = {"dark", "view", "registration", "difference", "score", "late"}
    assert (why_left_out(altered(verdict="unknown", reason=reason), {"camera"}) == "") == (
        reason in of_the_frame
    )


def test_a_late_verdict_is_compared_if_there_was_an_answer() -> None:
    """A part that was judged too late is judged again; one that nobody answered is not."""
    late = altered(verdict="unknown", reason="late", latency_us={"publish": 9, "total": 9})
    assert why_left_out(late, {"camera"}) == "late"
    assert why_left_out(altered(verdict="unknown", reason="late"), {"camera"}) == ""


def test_a_part_without_a_frame_is_left_out() -> None:
    """There is nothing to judge."""
    assert why_left_out(VERDICT, ()) == "no frame"


def test_the_times_of_the_stages_follow_from_the_verdict() -> None:
    """With these times, the same shares come out."""
    done = done_ns_of(VERDICT)
    assert done == {"capture": 1_002_000_000, "preprocess": 1_008_000_000, "infer": 1_038_000_000}


def look(camera: str, reason: str, entry: int | None = 0) -> Look:
    return Look(
        camera=camera,
        entry=entry,
        view="a",
        source_ref="",
        captured_ns=None,
        registration_px=None,
        reason=reason,  # type: ignore[arg-type]
        judges=[],
    )


@pytest.mark.parametrize(
    ("looks", "framed", "expected"),
    [
        ([look("top", "clean"), look("side", "defect")], {"top", "side"}, ""),
        ([look("top", "clean"), look("side", "defect")], {"top"}, "no frame"),
        ([look("top", "clean"), look("side", "missing", None)], {"top"}, ""),
        ([look("top", "clean"), look("side", "late")], {"top"}, ""),
        ([look("top", "late"), look("side", "defect")], {"top", "side"}, "late"),
    ],
)
def test_a_part_of_several_cameras_needs_each_frame_that_was_judged(
    looks: list[Look], framed: set[str], expected: str
) -> None:
    """What a camera could not show is taken as it was; what it showed is computed again."""
    assert (
        why_left_out(altered(camera="top", verdict="reject", reason="defect", looks=looks), framed) == expected
    )
