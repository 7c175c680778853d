"""What rejected parts point to: a bad product and a moved camera are told apart."""

from __future__ import annotations

import pytest

from edge.alarms.causes import Evidence, cause_of

MOVED = ("pictures are 45% less sharp (camera)",)


@pytest.mark.parametrize(
    ("reasons", "compared", "moved", "cause", "says"),
    [
        pytest.param(
            {"defect": 10}, True, (), "product", "look at the product", id="defects, pictures as learnt"
        ),
        pytest.param({"product": 10}, True, (), "product", "look at the product", id="wrong product"),
        pytest.param({"difference": 9, "late": 1}, True, (), "product", "the product", id="covered parts"),
        pytest.param({}, True, (), "product", "look at the product", id="scores drift, pictures as learnt"),
        pytest.param({"defect": 10}, True, MOVED, "camera", "less sharp", id="defects, pictures less sharp"),
        pytest.param({"registration": 10}, True, MOVED, "camera", "less sharp", id="not aligned, less sharp"),
        pytest.param({}, True, MOVED, "camera", "less sharp", id="scores drift, pictures less sharp"),
        pytest.param({"defect": 10}, False, (), "unclear", "not been learnt", id="nothing learnt yet"),
        pytest.param({"registration": 10}, True, (), "unclear", "another product, or", id="not aligned, sharp"),
        pytest.param({"view": 10}, True, (), "unclear", "another product, or", id="no master"),
        pytest.param({"dark": 10}, True, (), "camera", "the reason dark", id="lamp out"),
        pytest.param({"frame": 6, "defect": 4}, True, (), "camera", "the reason frame", id="damaged frames"),
        pytest.param({"frozen": 10}, False, (), "camera", "the reason frozen", id="frozen camera"),
        pytest.param({"engine": 10}, True, (), "line", "the log of the line", id="engine fails"),
        pytest.param({"late": 7, "defect": 3}, True, MOVED, "line", "the log", id="too slow, whatever else"),
    ],
)
def test_the_evidence_decides(
    reasons: dict[str, int], compared: bool, moved: tuple[str, ...], cause: str, says: str
) -> None:
    """Who is called goes to the right place first."""
    found, text = cause_of(Evidence(reasons=reasons, compared=compared, moved=moved))
    assert found == cause
    assert says in text
