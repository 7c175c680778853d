"""Lines with four cameras at a belt, in real processes: one verdict a part, and never another part's look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from belt_lines import CAMERAS, belt_recipe, boards_in, misattributed, truth_of
from lines import Subscriber, running, until

from edge.messages import Verdict


def looks_in(heard: Iterable[tuple[str, Verdict]]) -> Counter[tuple[str, int | None]]:
    """How many verdicts tell of each look, by its camera and time."""
    looks = (look for _, verdict in heard for look in verdict.looks or ())
    return Counter((look.camera, look.captured_ns) for look in looks if look.entry is not None)


def verdicts_of(folder: Path, recipe: Path) -> list[Verdict]:
    """Run a line until its belt ends; its verdicts, after checking that they are counted without a gap."""
    with Subscriber(folder) as subscriber, running(recipe) as line:
        status, said = line.wait()
        assert status == 0, said
        there = truth_of(folder).keys()
        until(lambda: there <= looks_in(subscriber.verdicts).keys(), "every look is heard of")
    found = [verdict for _, verdict in subscriber.verdicts]
    assert [verdict.number for verdict in found] == list(range(1, len(found) + 1))
    return found


def test_each_part_has_one_verdict_of_all_its_looks(
    tmp_path: Path, constant_bundle: Callable[..., Path]
) -> None:
    """Four cameras see each board, and its verdict tells what each of them saw, and when to eject it."""
    recipe = belt_recipe(tmp_path, constant_bundle(), parts=15, more="[ejector]\nat = 700\nlead_ms = 20")
    found = verdicts_of(tmp_path, recipe)
    assert len(found) == 15
    truth = truth_of(tmp_path)
    for board, verdict in enumerate(found, 1):
        assert (verdict.verdict, verdict.reason, verdict.judges) == ("pass", "clean", []), verdict
        assert isinstance(verdict.looks, list)
        assert [look.camera for look in verdict.looks] == list(CAMERAS)
        assert boards_in(verdict, truth) == {board}
        assert all([judged.verdict for judged in look.judges] == ["pass"] for look in verdict.looks)
        assert verdict.eject_at_ns == verdict.captured_ns + 700_000_000
        assert verdict.deadline_ns == verdict.eject_at_ns - 20_000_000
        assert verdict.published_ns < verdict.deadline_ns


@pytest.mark.parametrize("encoder", ["", "ticks_per_s = 1000\nslip = 0.2"], ids=["by time", "by encoder"])
def test_no_look_is_credited_to_another_part(
    tmp_path: Path, constant_bundle: Callable[..., Path], encoder: str
) -> None:
    """With triggers lost, doubled and spurious at each camera, no verdict mixes two boards."""
    recipe = belt_recipe(
        tmp_path,
        constant_bundle(),
        parts=40,
        fault=0.05,
        by_encoder=encoder,
        more="[ejector]\nat = 700\nlead_ms = 20",
    )
    found = verdicts_of(tmp_path, recipe)
    assert misattributed(found, tmp_path) == []
    truth = truth_of(tmp_path)
    assert looks_in(("", verdict) for verdict in found) == Counter(dict.fromkeys(truth, 1))
    for verdict in found:
        whole = isinstance(verdict.looks, list) and all(look.entry is not None for look in verdict.looks)
        if verdict.verdict == "pass":
            assert whole
            assert boards_in(verdict, truth) != {None}
    reasons = Counter(verdict.reason for verdict in found)
    assert reasons["clean"] >= 15, reasons
    assert reasons["missing"], reasons
    assert reasons["stray"], reasons
