"""Describes a row of a journal in lines of text for people."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import WireError
from ..messages import Judged, Verdict
from ..wire import verdict_from
from .chain import Row, hash_of


def shown(row: Row) -> Iterator[str]:
    """Yield the lines that describe a row: what it says of a part, its place, and whether its hash is right."""
    if row.kind == "verdict":
        try:
            yield from _verdict(verdict_from(row.body), row)
        except WireError as error:
            yield f"{row.body.decode(errors='replace')} ({error})"
    else:
        yield f"{row.kind} at {row.at}: {row.body.decode(errors='replace')}"
    right = "is right" if row.hash == hash_of(row) else "IS NOT THAT OF ITS CONTENT"
    yield f"  journal    row {row.id}, number {row.number} of run {row.run}; its hash {right}: {row.hash}"


def _verdict(verdict: Verdict, row: Row) -> Iterator[str]:
    yield f"part {verdict.part_id} of line {verdict.line}: {verdict.verdict} ({verdict.reason}) on {row.topic}"
    if verdict.detail:
        yield f"  because    {verdict.detail}"
    late = "" if verdict.published_ns < verdict.deadline_ns else ", after its deadline"
    yield f"  captured   {verdict.captured_at} by {verdict.camera}, view {verdict.view!r}"
    yield f"  published  {row.at}, {(verdict.published_ns - verdict.captured_ns) / 1e6:.1f} ms later{late}"
    for judge in verdict.judges:
        yield f"  judge      {_judge(judge)}"
    for look in verdict.looks or ():
        yield f"  look       by {look.camera}, view {look.view!r}: {look.reason}"
        for judge in look.judges:
            yield f"    judge    {_judge(judge)}"
    for region in verdict.regions:
        place = f"at {region.x:.0f},{region.y:.0f}, {region.w:.0f}x{region.h:.0f} px"
        yield f"  region     {region.kind} {place}, score {region.score:.4g}"
    yield f"  recipe     {verdict.recipe[:12]}, bundles {verdict.bundle[:12]}"


def _judge(judge: Judged) -> str:
    score = "" if judge.score is None else f", score {judge.score:.4g} of {judge.threshold:.4g}"
    return f"{judge.name}: {judge.verdict} ({judge.reason}){score}, bundle {judge.bundle[:12]}"
