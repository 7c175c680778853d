"""What the recorder's files are called, and which files it takes for its own."""

from __future__ import annotations

import msgspec
import pytest
from parts import VERDICT

from edge.messages import REASONS
from edge.recorder.names import box_kind, box_name, day_of, is_day, picture_kind, picture_name

REJECTED = msgspec.structs.replace(VERDICT, verdict="reject", reason="defect")


def test_the_name_of_a_picture_says_what_it_shows() -> None:
    """The day, the part, the camera, the verdict and the reason can be read without opening the file."""
    assert picture_name(REJECTED, "top") == "2026-01-02/1-7_top_reject_defect.png"
    assert picture_name(VERDICT, "top") == "2026-01-02/1-7_top_pass_clean.png"


def test_the_name_of_a_black_box_says_when_and_why() -> None:
    """The day and time in UTC, the last verdict's number, and what the file was written after."""
    at_ns = 1_764_545_130_000_000_000
    assert day_of(at_ns) == "2025-11-30"
    assert box_name(at_ns, 17, "fault-infer") == "2025-11-30/232530_000017_fault-infer.zip"


@pytest.mark.parametrize("camera", ["camera", "top_2", "x-pass_clean"])
@pytest.mark.parametrize("reason", REASONS)
def test_the_recorder_knows_its_own_files(reason: str, camera: str) -> None:
    """Whatever the reason and the camera are; only a passed part's picture is a sample."""
    for kind in ("pass", "reject", "unknown"):
        verdict = msgspec.structs.replace(VERDICT, verdict=kind, reason="clean" if kind == "pass" else reason)
        day, name = picture_name(verdict, camera).split("/")
        assert is_day(day)
        assert picture_kind(name) == ("sample" if kind == "pass" else "other")
    day, name = box_name(0, 1_234_567, f"unknown-{reason}").split("/")
    assert is_day(day)
    assert box_kind(name) == "other"


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "front.png",
        "1-7_top_reject_defect.png.part",
        "1-7_top_reject_defect.jpg",
        "archive.zip",
        "",
    ],
)
def test_files_of_others_are_none_of_its_own(name: str) -> None:
    """What people put into the folder has no kind."""
    assert picture_kind(name) is None
    assert box_kind(name) is None
    assert not is_day(name)
