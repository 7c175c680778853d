"""Combines what several judges decided about one part. A part that a judge could not inspect does not pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..messages import Refused
from ..recipe import Fusion
from .decide import MAX_REGIONS, Judgement
from .pvalue import combine

#: p-values are fractions of counts; their rounding must not decide.
ROUNDING = 1 + 1e-9


def fuse(
    said: Sequence[Judgement | Refused], fusion: Fusion | None
) -> tuple[Judgement | Refused, list[Judgement | Refused]]:
    """Return the judgement of all judges together, and the judgement of each judge, in the recipe's order.

    `said` has what each judge decided, or why the judge could not inspect the part. Without a fusion, each
    judge rejects by its own threshold. With a fusion, the judges' p-values decide together; a judge that could
    not inspect the part counts as a p-value of 1. If no judge rejects the part and some judge could not
    inspect it, the part is `unknown`. If a matcher rejects the part, the reason is `product`, whatever the
    other judges say.
    """
    each, together = (list(said), None) if fusion is None else _combined(said, fusion)
    judged = [one for one in each if isinstance(one, Judgement)]
    refused = [one for one in each if isinstance(one, Refused)]
    rejecting = [one for one in judged if one.verdict == "reject"]
    if not rejecting and refused:
        return refused[0], each
    if rejecting:  # the matcher first, then the rarest
        decisive = min(rejecting, key=lambda one: (one.reject_reason != "product", _rarity(one)))
    else:
        decisive = min(judged, key=_rarity)
    regions = [region for one in rejecting for region in one.regions]
    return replace(
        decisive, p_value=decisive.p_value if together is None else together, regions=regions[:MAX_REGIONS]
    ), each


def suffices(together: float, fusion: Fusion) -> bool:
    """Return whether `together`, the p-value of all judges together, is low enough to reject a part."""
    return together <= fusion.false_reject * ROUNDING


def _combined(said: Sequence[Judgement | Refused], fusion: Fusion) -> tuple[list[Judgement | Refused], float]:
    """Return each judge's judgement with its verdict in the fusion, and the p-value of all judges together.

    If the p-value of all is too high, no judge rejects. Otherwise the judge with the lowest p-value rejects,
    and so does each judge whose own p-value is low enough.
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
                reason=one.reject_reason if speaks else "clean",
            )
        each.append(one)
    return each, together


def _rarity(judgement: Judgement) -> float:
    """Return the p-value of a judgement, for sorting. Return 1.0 if the judgement has no p-value."""
    return 1.0 if judgement.p_value is None else judgement.p_value
