"""Whoever trains is told at the start what the pictures at hand can promise, and how many more it takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from drafts import write_parts

from trt_build.data.errors import DatasetError
from trt_build.data.good import read_good, said_of
from trt_build.data.parts import Good, LabelledPart


def parts(count: int) -> list[LabelledPart]:
    return [LabelledPart(name=f"good/{i}", kind="good", path=Path(f"{i}.png")) for i in range(count)]


def test_the_promise_is_said_before_the_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers that add up to the pictures in the folder, and what other rates need."""
    good = read_good(write_parts(tmp_path, trained=40, good=0, bad=0))
    first, second = capsys.readouterr().out.splitlines()
    kept = len(good.calibration)
    assert first.startswith(
        f"40 good parts: {40 - kept} to train with, {kept} kept for the threshold, which can "
    )
    assert second == (
        "5 % needs about 150 good parts in all (390 with confidence); 1 % needs about 610 good parts in all "
        "(1690 with confidence); 0.1 % needs about 5330 good parts in all (15560 with confidence)"
    )


def test_the_lowest_rate_is_that_of_the_parts_that_are_kept() -> None:
    """The formulas: one in n + 1 on average; with 59 scores 5 % holds with 95 % confidence, but not quite."""
    said = said_of(Good(fit=parts(200), validation=parts(20), calibration=parts(59)))[0]
    assert "220 to train with, 59 kept" in said
    assert "at 1.67 % on average, 4.96 % with 95 % confidence" in said


def test_no_threshold_is_promised_if_no_part_is_kept() -> None:
    """Training may begin, and one knows that calibrating will not do yet."""
    said = said_of(Good(fit=parts(3), validation=parts(1), calibration=[]))[0]
    assert "0 kept for the threshold, which cannot be set: take more pictures" in said


def test_two_good_parts_are_not_enough_to_train(tmp_path: Path) -> None:
    """The error says how many are, and how many set a threshold too."""
    with pytest.raises(DatasetError, match=r"train/good: 2 good parts leave [0-2] to train with, and 3 .* 150"):
        read_good(write_parts(tmp_path, trained=2, good=0, bad=0))


@pytest.mark.parametrize(("few", "warned"), [(19, False), (20, True)])
def test_a_method_that_needs_more_parts_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, few: int, warned: bool
) -> None:
    """The warning names the number and the methods that find more; with enough parts there is none."""
    read_good(write_parts(tmp_path, trained=20, good=0, bad=0), few=few)
    said = "with 20 good parts or fewer, pfm and gaussian may find more than this method"
    assert caplog.messages == [said] * warned
