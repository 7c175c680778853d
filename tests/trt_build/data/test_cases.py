"""What an engine is given and what it answers is what the line would give it and hear."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from bundles import unpacked
from drafts import SIZE

from edge.bundle import Draft, read_model
from edge.engines import open_engine
from edge.engines.base import Sample
from edge.errors import EngineError
from edge.image.warp import Warper
from edge.judges.gallery import Gallery
from edge.manifest import InputSpec
from edge.recipe import EngineChoice
from trt_build.data.cases import Case, answer, evenly, judging_engine, pair_cases, part_cases
from trt_build.data.pairs import read_pairs
from trt_build.data.parts import LabelledPart


@pytest.mark.parametrize(("of", "count"), [(7, 3), (199, 100), (101, 100), (5, 5)])
def test_an_even_choice_leaves_no_end_out(of: int, count: int) -> None:
    """What comes late by its name is shown as well, at distances that differ by one at most."""
    chosen = evenly(range(of), count)
    steps = np.diff([*chosen, of])
    assert len(chosen) == count
    assert chosen[0] == 0
    assert steps.max() - steps.min() <= 1


def test_figures_are_of_the_engine_that_a_line_would_take(tiny_bundle: Path) -> None:
    """Where INT8 is not reproduced, a line judges in FP32, and so does who measures."""
    bundle = read_model(tiny_bundle)
    strict = {precision: dict.fromkeys(each, 0.0) for precision, each in bundle.manifest.tolerances.items()}
    exact = replace(
        bundle,
        manifest=msgspec.structs.replace(
            bundle.manifest, tolerances=bundle.manifest.tolerances | {"int8": strict["int8"]}
        ),
    )
    draft = Draft(folder=bundle.folder, manifest=unpacked(bundle.manifest), digest=bundle.digest)
    for source, precision in ((bundle, "int8"), (exact, "fp32"), (draft, "int8")):
        with judging_engine(EngineChoice(), source) as engine:
            assert engine.precision == precision


def test_fewer_than_wanted_are_all_taken() -> None:
    """Nothing is shown twice."""
    assert evenly("abc", 9) == ["a", "b", "c"]
    assert evenly("", 9) == []


def test_a_board_comes_with_its_master(pcb_pairs: Path) -> None:
    """Each by the name it has in the folder, pixel by pixel."""
    pairs = read_pairs(pcb_pairs)[:2]
    first, second = pair_cases(pairs, InputSpec(height=64, width=64))
    assert (first.name, second.name) == ("00", "01")
    assert np.array_equal(first.image[0, 0], pairs[0].board)
    assert second.master is not None
    assert np.array_equal(second.master[0, 0], pairs[1].master)


def test_a_board_of_another_size_becomes_an_input(pcb_pairs: Path) -> None:
    """It is scaled, and a grey one becomes coloured, as a frame is on the line."""
    spec = InputSpec(height=32, width=96, color="bgr")
    pair = read_pairs(pcb_pairs)[0]
    (case,) = pair_cases([pair], spec)
    line = np.empty(spec.shape, np.uint8)
    Warper(None, spec).warp(pair.board.shape).apply(pair.board, line)
    assert np.array_equal(case.image, line)
    assert case.master is not None
    assert case.master.shape == spec.shape


def test_a_part_keeps_its_colours_and_gets_a_name_for_files(tmp_path: Path) -> None:
    """Red is the first plane of an RGB model; the kind stays in the name, which can be a file's."""
    cv2.imwrite(str(tmp_path / "7.png"), np.full((SIZE, SIZE, 3), (10, 20, 240), np.uint8))
    (case,) = part_cases(
        [LabelledPart(name="dent/7", kind="dent", path=tmp_path / "7.png")],
        InputSpec(height=SIZE, width=SIZE, color="rgb"),
    )
    assert case.name == "dent-7"
    assert case.image[0, :, 5, 5].tolist() == [240, 20, 10]


def test_an_answer_that_is_no_number_names_the_picture(constant_bundle: Callable[..., Path]) -> None:
    """A threshold is never chosen on NaN."""
    bundle = read_model(constant_bundle(fault="nan"))
    case = Case(name="board-7", image=np.zeros(bundle.manifest.input.shape, np.uint8))
    with (
        open_engine(EngineChoice(), bundle) as engine,
        pytest.raises(EngineError, match="board-7 on constant fp32: map is not a number"),
    ):
        answer(engine, bundle.manifest, case)


def test_a_product_is_as_far_as_its_nearest_drawing(matcher_draft: Path) -> None:
    """What is measured while building is what the line measures against all drawings of a product."""
    bundle = read_model(matcher_draft)
    drawings = np.random.default_rng(0).integers(0, 256, (3, 1, SIZE, SIZE), np.uint8)
    noise = np.random.default_rng(1).integers(0, 90, (1, 1, SIZE, SIZE))
    image = (drawings[1:2] // 2 + noise).astype(np.uint8)

    with open_engine(EngineChoice(), bundle) as engine:
        alone = [
            answer(engine, bundle.manifest, Case(name="", image=image, master=drawings[i : i + 1]))["score"][0]
            for i in range(3)
        ]
        found = answer(engine, bundle.manifest, Case(name="", image=image, master=drawings))
        line = Gallery(engine, [drawings[i : i + 1] for i in range(3)])
        engine.submit(0, [Sample(image)])
        on_the_line = line.score(engine.collect(0)[0])
    assert alone[1] < min(alone[0], alone[2]) - 0.1
    assert found["score"][0] == pytest.approx(alone[1], abs=1e-6)
    assert np.array_equal(found["score"], on_the_line["score"])
