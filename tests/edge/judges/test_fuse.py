"""What several judges say of one part: one judgement, and never a pass over what one of them could not see."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.judges.decide import MAX_REGIONS, Judgement
from edge.judges.fuse import fuse
from edge.judges.pvalue import combine
from edge.messages import Reason, Refused, Region
from edge.recipe import Fusion

BONFERRONI = Fusion(false_reject=0.05)
FISHER = Fusion(how="fisher", false_reject=0.05)
MOVED = Refused(reason="registration", detail="moved 40 px")
DARK = Refused(reason="dark", detail="no light")


def region(kind: str = "spot", score: float = 0.9) -> Region:
    return Region(x=1, y=2, w=3, h=4, area_px=12, score=score, kind=kind)


def judged(score: float, *, p: float | None = None, **more: Any) -> Judgement:
    """A judgement at a threshold of 0.5."""
    reject_reason = more.get("reject_reason", "defect")
    reason: Reason = reject_reason if score >= 0.5 else "clean"
    fields = {
        "verdict": "pass" if reason == "clean" else "reject",
        "reason": reason,
        "score": score,
        "threshold": 0.5,
        "p_value": p,
        "reject_reason": reject_reason,
        "regions": [],
    }
    return Judgement(**fields | more)


def test_one_judge_alone_says_what_is_said() -> None:
    """A recipe with one model, calibrated or not, is judged as that model judges."""
    for said in (judged(0.2), judged(0.9, regions=[region()]), judged(0.2, p=0.4), judged(0.9, p=0.01)):
        assert fuse([said], None) == (said, [said])
    assert fuse([MOVED], None) == (MOVED, [MOVED])


def test_without_a_fusion_each_judge_rejects_by_its_own_threshold() -> None:
    """One that rejects is enough, whatever the p-values are, and it is the one whose score is told."""
    bad, good = judged(0.6, p=0.9), judged(0.1, p=0.001)
    found, each = fuse([good, bad], None)
    assert found == bad
    assert each == [good, bad]


def test_of_judges_that_pass_the_rarest_is_told() -> None:
    """The score of a good part is that of the judge to which it is oddest; without p-values, the first's."""
    found, _ = fuse([judged(0.4, p=0.5), judged(0.1, p=0.2), judged(0.3)], None)
    assert isinstance(found, Judgement)
    assert (found.verdict, found.score, found.p_value) == ("pass", 0.1, 0.2)
    assert fuse([judged(0.1), judged(0.4)], None)[0] == judged(0.1)


def test_of_judges_that_reject_the_rarest_is_told() -> None:
    """And the regions of all of them, in the recipe's order, but none of a judge that passed the part."""
    one = judged(0.6, p=0.04, regions=[region("spot")])
    other = judged(0.7, p=0.01, regions=[region("stain"), region("crack")])
    good = judged(0.1, p=0.9, regions=[region("nothing")])
    found, _ = fuse([one, good, other], None)
    assert isinstance(found, Judgement)
    assert (found.score, found.p_value) == (0.7, 0.01)
    assert [place.kind for place in found.regions] == ["spot", "stain", "crack"]


def test_another_product_is_the_reason_wherever_the_matcher_says_so() -> None:
    """A part that is something else has many defects; that it is something else is what there is to know."""
    matcher = judged(0.6, p=0.04, reject_reason="product")
    for said in ([judged(0.9, p=0.001), matcher], [matcher, judged(0.9, p=0.001)]):
        found, _ = fuse(said, None)
        assert (found.reason, found.score) == ("product", 0.6)
    found, _ = fuse([judged(0.9, p=0.001), judged(0.6, p=0.02, reject_reason="product")], BONFERRONI)
    assert found.reason == "product"


def test_a_matcher_that_passes_a_part_does_not_hide_its_defect() -> None:
    """The right product with a defect is a defect."""
    found, _ = fuse([judged(0.1, p=0.9, reject_reason="product"), judged(0.9, p=0.001)], None)
    assert found.reason == "defect"


def test_a_part_that_a_judge_could_not_see_is_unknown() -> None:
    """With the first one's reason and words, and what every judge said beside it."""
    said = [judged(0.1), DARK, MOVED]
    assert fuse(said, None) == (DARK, said)


def test_a_part_that_another_judge_rejects_is_rejected() -> None:
    """A wrong product cannot be laid onto its master; that the comparator was refused it hides no reject."""
    matcher = judged(0.9, reject_reason="product")
    found, each = fuse([MOVED, matcher], None)
    assert found == matcher
    assert each == [MOVED, matcher]


def test_bonferroni_rejects_for_one_strong_sign() -> None:
    """A judge speaks from its share of the rate on, whatever it would have said alone."""
    found, each = fuse([judged(0.1, p=0.02), judged(0.9, p=0.3)], BONFERRONI)
    assert (found.verdict, found.reason, found.score) == ("reject", "defect", 0.1)
    assert found.p_value == pytest.approx(0.04)
    assert [one.verdict for one in each] == ["reject", "pass"]
    assert [one.p_value for one in each] == [0.02, 0.3]


def test_bonferroni_passes_what_no_judge_finds_rare_enough() -> None:
    """A part that one judge alone would have rejected is good where that is as rare as the rate allows."""
    found, each = fuse([judged(0.9, p=0.03, regions=[region()]), judged(0.1, p=0.5)], BONFERRONI)
    assert (found.verdict, found.reason) == ("pass", "clean")
    assert found.p_value == pytest.approx(0.06)
    assert found.regions == []
    assert [one.reason for one in each] == ["clean", "clean"]


def test_fisher_rejects_for_several_weak_signs() -> None:
    """None of which would have done alone; the rarest of them speaks."""
    said = [judged(0.1, p=0.07), judged(0.2, p=0.06, regions=[region()]), judged(0.3, p=0.08)]
    found, each = fuse(said, FISHER)
    assert fuse(said, BONFERRONI)[0].reason == "clean"
    assert (found.verdict, found.score) == ("reject", 0.2)
    assert found.p_value == combine([0.07, 0.06, 0.08], "fisher")
    assert [one.reason for one in each] == ["clean", "defect", "clean"]
    assert found.regions == [region()]


def test_fisher_passes_one_sign_among_many_good_ones() -> None:
    """What one judge finds odd and several find usual is not rejected."""
    found, _ = fuse([judged(0.9, p=0.03), judged(0.1, p=0.9), judged(0.1, p=0.8)], FISHER)
    assert found.reason == "clean"


@pytest.mark.parametrize("fusion", [BONFERRONI, FISHER], ids=["bonferroni", "fisher"])
def test_in_a_fusion_too_what_a_judge_could_not_see_is_no_pass(fusion: Fusion) -> None:
    """It has found nothing, so the others have to be the surer; if they are not, the part is unknown."""
    assert fuse([MOVED, judged(0.1, p=0.5)], fusion)[0] == MOVED
    found, each = fuse([MOVED, judged(0.9, p=0.001)], fusion)
    assert found.reason == "defect"
    assert found.p_value == combine([1.0, 0.001], fusion.how)
    assert each[0] == MOVED
    assert fuse([DARK, MOVED], fusion)[0] == DARK


@pytest.mark.parametrize(("judges", "rate"), [(3, 0.3), (6, 0.3), (3, 0.002), (7, 0.07), (2, 0.01)])
def test_how_a_computer_rounds_decides_nothing(judges: int, rate: float) -> None:
    """The rarest p-value that just enough good parts can give rejects, though 3 * 0.1 is more than 0.3."""
    least = 1 / round(judges / rate)
    said = [judged(0.9, p=least), *[judged(0.1, p=1.0)] * (judges - 1)]
    found, each = fuse(said, Fusion(false_reject=rate))
    assert found.reason == "defect"
    assert [one.reason for one in each] == ["defect", *["clean"] * (judges - 1)]


def test_a_verdict_describes_no_more_regions_than_one_judges() -> None:
    """Those of the judges that come first."""
    many = [region("spot")] * (MAX_REGIONS - 1)
    found, _ = fuse([judged(0.9, regions=many), judged(0.9, regions=[region("stain")] * 5)], None)
    assert [place.kind for place in found.regions] == [*["spot"] * (MAX_REGIONS - 1), "stain"]


P = st.one_of(st.sampled_from([1 / 300, 0.01, 0.05, 1.0]), st.floats(0, 1))
SAID = st.one_of(
    st.sampled_from([MOVED, DARK]),
    st.builds(
        lambda score, p, reject_reason: judged(score, p=p, reject_reason=reject_reason),
        st.floats(0, 1),
        P,
        st.sampled_from(["defect", "product"]),
    ),
)
FUSION = st.one_of(
    st.none(),
    st.builds(Fusion, how=st.sampled_from(["bonferroni", "fisher"]), false_reject=st.floats(1e-4, 0.99)),
)


@settings(max_examples=150, deadline=None)
@given(said=st.lists(SAID, min_size=1, max_size=4), fusion=FUSION)
def test_nothing_that_goes_wrong_becomes_a_pass(said: list[Judgement | Refused], fusion: Fusion | None) -> None:
    """Whatever is said and however it is put together: what holds of every part."""
    found, each = fuse(said, fusion)
    judgements = [one for one in each if isinstance(one, Judgement)]
    rejecting = [one for one in judgements if one.verdict == "reject"]
    assert len(each) == len(said)
    assert [one for one in each if isinstance(one, Refused)] == [
        one for one in said if isinstance(one, Refused)
    ]
    if isinstance(found, Refused):
        assert found in said
        assert not rejecting
    elif found.verdict == "pass":
        assert judgements == each
        assert not rejecting
    else:
        assert rejecting
        assert (found.reason == "product") == any(one.reason == "product" for one in rejecting)
    if fusion is None:
        assert each == said
    else:
        ps = [1.0 if isinstance(one, Refused) else one.p_value for one in said]
        assert bool(rejecting) == (combine(ps, fusion.how) <= fusion.false_reject * (1 + 1e-9))
