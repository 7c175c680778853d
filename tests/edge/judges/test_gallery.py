"""Drawings of a product as its matcher sees them, and how far a part is from the nearest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from bundles import board

from edge.bundle import read_bundle
from edge.engines import open_engine
from edge.engines.base import Engine, Outputs, Sample
from edge.judges.decide import Rule, decide
from edge.judges.gallery import Gallery
from edge.judges.golden import decisions
from edge.manifest import rejected_below
from edge.recipe import EngineChoice


@pytest.fixture(params=["openvino", "onnxruntime"])
def engine(request: pytest.FixtureRequest, matcher_bundle: Path) -> Iterator[Engine]:
    with open_engine(EngineChoice(kind=request.param), read_bundle(matcher_bundle)) as engine:
        yield engine


def drawing(seed: int) -> np.ndarray:
    return board(seed)[np.newaxis, np.newaxis]


def embedding(engine: Engine, image: np.ndarray) -> Outputs:
    engine.submit(1, [Sample(image)])
    return engine.collect(1)[0]


def test_a_part_is_as_far_as_the_nearest_drawing(engine: Engine) -> None:
    """One minus the cosine: 0 for the same picture, whichever drawing it is; far for another product."""
    gallery = Gallery(engine, [drawing(0), drawing(1), drawing(2)])
    for seed in (0, 1, 2):
        assert gallery.score(embedding(engine, drawing(seed)))["score"] == pytest.approx(0, abs=1e-5)
    assert gallery.score(embedding(engine, drawing(3)))["score"] > 0.5


def test_a_part_that_is_the_opposite_is_farthest(engine: Engine) -> None:
    """A picture's negative lies at 2, and no part lies farther."""
    gallery = Gallery(engine, [drawing(0)])
    assert gallery.score(embedding(engine, 255 - drawing(0)))["score"] == pytest.approx(2, abs=1e-5)


def test_more_drawings_bring_no_part_farther(engine: Engine) -> None:
    """A product may be drawn from as many sides as there are."""
    seen = embedding(engine, drawing(7))
    scores = [Gallery(engine, map(drawing, range(count))).score(seen)["score"][0] for count in range(1, 7)]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < scores[0]


def test_drawings_stay_what_they_were_when_parts_are_judged(engine: Engine) -> None:
    """What the engine says of later pictures does not change what it said of the drawings."""
    gallery = Gallery(engine, [drawing(0), drawing(1)])
    for seed in (2, 3, 4):
        for lane in (0, 1):
            engine.submit(lane, [Sample(drawing(seed))])
            engine.collect(lane)[0]
    assert gallery.score(embedding(engine, drawing(0)))["score"] == pytest.approx(0, abs=1e-5)


def test_the_score_is_what_the_line_takes(engine: Engine) -> None:
    """`(1,)` float32, as it lies in the slot."""
    score = Gallery(engine, [drawing(0)]).score(embedding(engine, drawing(1)))["score"]
    assert (score.shape, score.dtype) == ((1,), np.float32)


def test_an_embedding_that_is_not_a_number_gives_no_score(engine: Engine) -> None:
    """A picture without anything in it has no direction; its score is no number, so nobody passes it."""
    blank = np.full((1, 1, 64, 64), 100, np.uint8)
    score = Gallery(engine, [drawing(0)]).score({"embedding": embedding(engine, blank)["embedding"] * np.nan})
    assert np.isnan(score["score"]).all()


class Plain:
    """An engine whose embedding of every picture is the first axis."""

    def submit(self, lane: int, samples: list[Sample]) -> None:
        self.asked = len(samples)

    def collect(self, lane: int) -> list[Outputs]:
        return [{"embedding": np.array([[1, 0]], np.float32)}] * self.asked


def score_at(cosine: np.float32) -> Outputs:
    """The score of a part whose cosine with the only drawing is this, to the last bit."""
    rest = np.sqrt(1 - np.float64(cosine) ** 2)
    gallery = Gallery(Plain(), [drawing(0)])  # type: ignore[arg-type]
    return gallery.score({"embedding": np.array([[cosine, rest]], np.float32)})


@pytest.mark.parametrize("similarity", [-0.3, 0.0, 0.1, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.9, 1.0])
def test_a_cosine_equal_to_the_threshold_is_the_same_product(similarity: float) -> None:
    """As Han (2022) decides: at the similarity and above it is the product, a little below it is another."""
    threshold = {"product": rejected_below(similarity)}
    rule = Rule(name="match", bundle="b" * 64, thresholds=threshold, stride=1)
    equal = np.float32(similarity)
    for cosine, expected in ((equal, "pass"), (equal - np.float32(1e-6), "reject")):
        assert decide(score_at(cosine), (1, 0, 0, 0, 1, 0), rule).verdict == expected


def test_a_matcher_without_a_threshold_takes_even_odds_for_the_same(matcher_bundle: Path) -> None:
    """Graphs of a draft are compared at a cosine of 0.5, and this cosine itself is accepted."""
    bundle = read_bundle(matcher_bundle)
    draft = msgspec.structs.replace(bundle.manifest, thresholds={})
    assert not decisions(score_at(np.float32(0.5)), draft).any()
    assert decisions(score_at(np.float32(0.499999)), draft).all()
