"""An engine goes wrong at some parts: they are unknown, no part gets their outputs, and the line judges on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from account import Heard
from faulty_graphs import faulty
from numbered import GOOD_NUMBERS, number_named
from watched import Watched

#: Numbers of good pictures that are not cut, at which the engine goes wrong.
NUMBERS = {"nan": GOOD_NUMBERS[2], "error": GOOD_NUMBERS[5], "shape": GOOD_NUMBERS[8]}
HANGS_AT = GOOD_NUMBERS[11]
REASONS = {"nan": "score", "error": "engine", "shape": "engine"}
KINDS = ("openvino", "onnxruntime")


@pytest.fixture(scope="module", params=KINDS)
def line(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    tiny_bundle: Path,
    watch: Callable[..., Watched],
) -> Watched:
    """A line with an engine that has all faults but one."""
    bundle = faulty(tiny_bundle, tmp_path_factory.mktemp("bundle") / "faulty", NUMBERS)
    return watch(f'kind = "{request.param}"\n[timing]\ndeadline_ms = 500\n', bundle)


def of(line: Watched, number: int) -> list[Heard]:
    """The verdicts on whole pictures of a number, but for those that nobody had time or room for."""
    of_number = [v for v in line.ear.verdicts if number_named(v.body["source_ref"]) == number]
    return [verdict for verdict in of_number if verdict.body["reason"] not in ("late", "overrun")]


@pytest.mark.parametrize("fault", NUMBERS)
def test_a_part_at_which_the_engine_goes_wrong_is_unknown(accounted: Watched, fault: str) -> None:
    """Each time, for the fault's reason; outputs of an earlier part in its slot are not taken for its own."""
    accounted.until(lambda: len(of(accounted, NUMBERS[fault])) > 2, "the engine has gone wrong")
    found = {(verdict.topic.split(".")[0], verdict.body["reason"]) for verdict in of(accounted, NUMBERS[fault])}
    assert found == {("reject", REASONS[fault])}


def test_an_engine_that_never_answers_is_started_anew(
    tmp_path: Path, tiny_bundle: Path, watch: Callable[..., Watched]
) -> None:
    """Its part and those that wait for it are late; then the parts are judged again."""
    bundle = faulty(tiny_bundle, tmp_path / "hanging", {"hang": HANGS_AT})
    line = watch('kind = "onnxruntime"\n[timing]\ndeadline_ms = 500\n', bundle, fps=12)
    line.await_well()
    first = line.pid("infer")
    line.until(lambda: line.pid("infer") not in (None, first), "infer is started anew")
    line.await_well()
    assert {verdict.body["reason"] for verdict in of(line, HANGS_AT)} == set()
    found = line.account()
    assert not found.faults, found
    assert found.captured > 0
