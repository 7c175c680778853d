"""Names the recorder's files, and tells from a name what a file is, so that files of others are left alone."""

from __future__ import annotations

import re
import time
from typing import Literal

from ..messages import Verdict

#: A sample is a picture of a passed part. Samples are kept for a shorter time than all other files.
Kind = Literal["sample", "other"]
#: The end of the names of samples.
PASS_END = "_pass_clean.png"
_PICTURE = re.compile(r"\d+-\d+_.+_(pass|reject|unknown)_[a-z]+\.png")
_BOX = re.compile(r"\d{6}_\d{6,}_.+\.zip")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def picture_name(verdict: Verdict, camera: str) -> str:
    """Return the path of a part's picture: the day (UTC), then part_id, camera, verdict and reason."""
    end = PASS_END if verdict.verdict == "pass" else f"_{verdict.verdict}_{verdict.reason}.png"
    return f"{verdict.captured_at[:10]}/{verdict.part_id}_{camera}{end}"


def box_name(now_ns: int, number: int, why: str) -> str:
    """Return the path of a black box: the day, then the time (UTC), the number of its last verdict, and why.

    `now_ns` is the wall clock's time.
    """
    return f"{day_of(now_ns)}/{_utc('%H%M%S', now_ns)}_{number:06d}_{why}.zip"


def day_of(now_ns: int) -> str:
    """Return the day (UTC) of a time of the wall clock, such as `2026-01-31`: the name of its folder."""
    return _utc("%Y-%m-%d", now_ns)


def _utc(form: str, now_ns: int) -> str:
    return time.strftime(form, time.gmtime(now_ns // 1_000_000_000))


def is_day(name: str) -> bool:
    """Return whether a folder's name is that of a day."""
    return bool(_DAY.fullmatch(name))


def picture_kind(name: str) -> Kind | None:
    """Return what a picture's file name, without the day, says it is; None if it is not of the recorder."""
    if not _PICTURE.fullmatch(name):
        return None
    return "sample" if name.endswith(PASS_END) else "other"


def box_kind(name: str) -> Kind | None:
    """Return `other` if a file name, without the day, is that of a black box, and None if it is not."""
    return "other" if _BOX.fullmatch(name) else None
