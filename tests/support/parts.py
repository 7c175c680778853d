"""Parts, a verdict, a heartbeat and an alarm as tests need them."""

from __future__ import annotations

from edge.messages import Alarm, Heartbeat, Part, Verdict

VERDICT = Verdict(
    line="board-a",
    part_id="1-7",
    epoch=1,
    sequence=7,
    camera="camera",
    view="top",
    source_ref="",
    skipped=0,
    verdict="pass",
    reason="clean",
    detail="",
    score=0.12,
    threshold=0.5,
    p_value=0.3,
    judges=[],
    regions=[],
    captured_at="2026-01-02T03:04:05.000000Z",
    captured_ns=1_000_000_000,
    published_ns=1_040_000_000,
    deadline_ns=1_200_000_000,
    latency_us={
        "capture": 2_000,
        "preprocess": 6_000,
        "infer": 30_000,
        "publish": 2_000,
        "engine": 25_000,
        "total": 40_000,
    },
    registration_px=0.4,
    recipe="r" * 64,
    bundle="b" * 64,
)
HEARTBEAT = Heartbeat(
    line="board-a", state="judging", part_id=None, judged_at=None, judged_ns=None, published_ns=0, parts=0
)

ALARM = Alarm(
    line="board-a",
    alarm="consecutive",
    state="raised",
    cause="product",
    text="10 parts in a row were not accepted",
    raised_at="2026-01-02T03:04:05.000000Z",
    changed_at="2026-01-02T03:04:05.000000Z",
)


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
