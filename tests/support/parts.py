"""Parts as tests need them."""

from __future__ import annotations

from edge.messages import Part


def part_of(
    entry: int,
    *,
    slot: int = 0,
    generation: int = 1,
    captured_ns: int = 0,
    deadline_ns: int = 0,
    view: str = "a",
) -> Part:
    """A part of epoch 1 with its entry number plus one as sequence."""
    return Part(
        entry=entry,
        epoch=1,
        sequence=entry + 1,
        camera="camera",
        view=view,
        captured_ns=captured_ns,
        source_ref="",
        skipped=0,
        captured_at_ns=1_700_000_000_000_000_000 + captured_ns,
        deadline_ns=deadline_ns,
        slot=slot,
        generation=generation,
    )
