"""What several judges say of one part into one judgement; what one of them could not judge is no pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..messages import Refused
from ..recipe import Fusion
from .decide import MAX_REGIONS, Judgement
from .pvalue import combine

ROUNDING = 1 + 1e-9  # p-values are parts of a count: how a computer rounds them decides nothing


def fuse(
    said: Sequence[Judgement | Refused], fusion: Fusion | None
) -> tuple[Judgement | Refused, list[Judgement | Refused]]:
    """The judgement of all, and what each contributed to it, both in the recipe's order.

    Without a fusion each judge rejects by its own threshold. With one, their p-values decide together,
    whatever each would have said alone; a judge that could not look at the part has found nothing (a
    p-value of 1). A part that is not rejected is `unknown` where any judge could not look at it. That it is
    another product is the reason wherever the matcher says so.
    """
    each, together = (list(said), None) if fusion is None else _combined(said, fusion)
    judged = [one for one in each if isinstance(one, Judgement)]
    refused = [one for one in each if isinstance(one, Refused)]
    rejecting = [one for one in judged if one.verdict == "reject"]
    if not rejecting and refused:
        return refused[0], each
    if rejecting:  # the matcher first, then the rarest
        decisive = min(rejecting, key=lambda one: (one.charge != "product", _rarity(one)))
    else:
        decisive = min(judged, key=_rarity)
    regions = [region for one in rejecting for region in one.regions]
    return replace(
        decisive,
        p_value=decisive.p_value if together is None else together,
        regions=regions[:MAX_REGIONS],
    ), each


def suffices(together: float, fusion: Fusion) -> bool:
    """Whether a p-value of all judges together rejects a part."""
    return together <= fusion.false_reject * ROUNDING


def _combined(said: Sequence[Judgement | Refused], fusion: Fusion) -> tuple[list[Judgement | Refused], float]:
    """Each with the verdict that it has in the fusion, and the p-value of all together.

    Those speak whose p-value alone would do, or the one with the least where only all together do.
    """
    ps = [1.0 if isinstance(one, Refused) or one.p_value is None else one.p_value for one in said]
    together = combine(ps, fusion.how)
    alone = fusion.false_reject / (len(ps) if fusion.how == "bonferroni" else 1)
    limit = max(alone * ROUNDING, min(ps)) if suffices(together, fusion) else -1.0
    each: list[Judgement | Refused] = []
    for one, p in zip(said, ps, strict=True):
        if isinstance(one, Judgement):
            speaks = p <= limit
            one = replace(
                one,
                verdict="reject" if speaks else "pass",
                reason=one.charge if speaks else "clean",
            )
        each.append(one)
    return each, together


def _rarity(judgement: Judgement) -> float:
    """By p-value; those without one in their own order, behind."""
    return 1.0 if judgement.p_value is None else judgement.p_value
