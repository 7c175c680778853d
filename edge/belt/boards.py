"""Decides which triggers each camera of a simulated belt has, and which board each of them shows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Literal

from ..recipe import SimulatedBelt


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One trigger of a camera: the belt's position at this moment, and what the camera sees."""

    count: int  # 1, 2, 3, ... over all triggers of the camera
    position: int  # nanoseconds or ticks behind the belt's position at the start of the run
    board: int  # 1, 2, 3, ... in the order of the belt; of an empty belt, the board before it
    kind: Literal["board", "doubled", "empty"]


def triggers(section: SimulatedBelt, number: int, at: int, unit: int) -> Iterator[Shown]:
    """Yield the triggers of the camera with this number, which stands at `at`, in order.

    `unit` is the number of positions in the unit of the section's keys. The same arguments give the same
    triggers, so that a camera that was restarted goes on as if it had never been away.
    """
    pitch, jitter, place = section.pitch * unit, section.jitter * unit, count(1)
    for board in range(1, section.parts + 1) if section.parts else count(1):
        here = board * pitch + at + jitter * (2 * _chance(section.seed, number, board, 0) - 1)
        if _chance(section.seed, number, board, 1) >= section.lost:
            yield Shown(count=next(place), position=round(here), board=board, kind="board")
            if _chance(section.seed, number, board, 2) < section.doubled:
                again = here + pitch / 16 * (0.25 + _chance(section.seed, number, board, 3))
                yield Shown(count=next(place), position=round(again), board=board, kind="doubled")
        if _chance(section.seed, number, board, 4) < section.spurious:
            between = board * pitch + at + pitch * (0.4 + 0.2 * _chance(section.seed, number, board, 5))
            yield Shown(count=next(place), position=round(between), board=board, kind="empty")


def _chance(*key: int) -> float:
    """Return a number from 0 up to 1 that depends on the key alone."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64
