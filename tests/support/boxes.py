"""Parts as the recorder keeps them, and the head of a black box."""

from __future__ import annotations

import msgspec
import numpy as np
from parts import VERDICT, part_of

from edge.messages import Verdict
from edge.recipe import Recipe, Source, Synthetic
from edge.recorder.box import Head
from edge.recorder.kept import Kept, Look
from edge.wire import body_of


def kept(number: int, frame: np.ndarray | None, **fields: object) -> Kept:
    """The part with this number; `fields` are of its verdict."""
    part = part_of(number - 1)
    verdict: Verdict = msgspec.structs.replace(VERDICT, part_id=part.part_id, **fields)
    look = Look(part=part, frame=frame)
    return Kept(number=number, topic="reject.board-a", body=body_of(verdict), verdict=verdict, looks=(look,))


def head(source: Source | None = None) -> Head:
    """The head of a black box of the line board-a."""
    return Head(
        line="board-a",
        run="00" * 8,
        why="unknown-view",
        written_at="2026-01-02T03:04:05.000000Z",
        recipe_digest="r" * 64,
        bundle_digest="b" * 64,
        pictures={},
        running=None,
        recipe=Recipe(line="board-a", bundle="/bundle", source=source or Synthetic(width=8, height=8)),
    )
