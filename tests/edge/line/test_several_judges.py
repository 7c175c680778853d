"""Lines with several judges, in real processes: one verdict a part, and no judge's failure becomes a pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from bundles import altered, board, calibration, deviation
from lines import UNHURRIED, Subscriber, judge, judged, running, stop, until, write_boards, write_recipe

from edge.bundle import read_bundle
from edge.judges.pvalue import How, combine
from edge.messages import Verdict


def verdicts_of(folder: Path, recipe: Path, count: int) -> list[Verdict]:
    """Run a line whose source ends; its verdicts, after checking that each part has exactly one."""
    with Subscriber(folder) as subscriber, running(recipe) as line:
        status, said = line.wait()
        until(lambda: len(subscriber.verdicts) >= count, "the last verdict is heard")
    assert status == 0, said
    assert subscriber.ids() == [f"1-{i}" for i in range(1, count + 1)]
    for topic, verdict in subscriber.verdicts:
        assert topic.startswith("accept." if verdict.verdict == "pass" else "reject.")
        assert verdict.published_ns < verdict.deadline_ns
    return [verdict for _, verdict in subscriber.verdicts]


def said(verdict: Verdict) -> tuple[str, str, list[tuple[str, str]]]:
    """Verdict and reason, and what each judge made of it."""
    return verdict.verdict, verdict.reason, [(judged.name, judged.verdict) for judged in verdict.judges]


@pytest.fixture
def comparator(tmp_path: Path, tiny_bundle: Path) -> str:
    return judge("defects", tiny_bundle, masters=f"{tmp_path}/masters/{{view}}.png")


@pytest.fixture
def matcher(tmp_path: Path, matcher_bundle: Path, textured: np.ndarray) -> str:
    """One that knows the textured product from two sides."""
    (tmp_path / "drawings").mkdir()
    for i in range(2):
        cv2.imwrite(str(tmp_path / f"drawings/{i}.png"), np.rot90(textured, i))
    return judge("product", matcher_bundle, drawings=f"{tmp_path}/drawings/*.png")


def test_every_part_has_one_verdict_that_names_both_judges(
    tmp_path: Path, comparator: str, tiny_bundle: Path, score_bundle: Path, textured: np.ndarray
) -> None:
    """A comparator sees the spots, a model of good parts the light: each rejects its own, neither the rest."""
    source = write_boards(tmp_path, {f"{i:02d}": i % 3 != 1 for i in range(12)}, textured) + "\nfps = 40"
    for i in range(2, 12, 3):
        cv2.imwrite(str(tmp_path / f"frames/{i:02d}.a.png"), textured + np.uint8(60))
    recipe = write_recipe(tmp_path, None, source, comparator + judge("odd", score_bundle) + UNHURRIED)
    found = verdicts_of(tmp_path, recipe, 12)
    assert [said(verdict) for verdict in found] == 4 * [
        ("pass", "clean", [("defects", "pass"), ("odd", "pass")]),
        ("reject", "defect", [("defects", "reject"), ("odd", "pass")]),
        ("reject", "defect", [("defects", "pass"), ("odd", "reject")]),
    ]
    digests = [read_bundle(bundle).digest for bundle in (tiny_bundle, score_bundle)]
    for verdict in found:
        assert [judged.bundle for judged in verdict.judges] == digests
        assert verdict.bundle not in digests
    good, spotted, bright = found[:3]
    assert good.judges[1].score == pytest.approx(deviation(textured)["score"][0], abs=2e-5)
    assert good.regions == []
    assert [region.kind for region in spotted.regions] == ["spot"] * len(spotted.regions) != []
    assert {region.kind for region in bright.regions} == {"anomaly"}
    assert (bright.score, bright.threshold) == (bright.judges[1].score, 0.145)


def test_another_product_is_rejected_as_such(
    tmp_path: Path, comparator: str, matcher: str, textured: np.ndarray
) -> None:
    """The comparator cannot even lay it onto its master; the verdict still is `product`, not `registration`."""
    source = write_boards(tmp_path, {"0": True, "1": False, "2": True, "3": True}, textured) + "\nfps = 20"
    cv2.imwrite(str(tmp_path / "frames/2.a.png"), board(3))
    cv2.imwrite(str(tmp_path / "frames/3.a.png"), np.zeros_like(textured))
    recipe = write_recipe(tmp_path, None, source, comparator + matcher + UNHURRIED)
    found = verdicts_of(tmp_path, recipe, 4)
    assert [said(verdict) for verdict in found] == [
        ("pass", "clean", [("defects", "pass"), ("product", "pass")]),
        ("reject", "defect", [("defects", "reject"), ("product", "pass")]),
        ("reject", "product", [("defects", "unknown"), ("product", "reject")]),
        ("unknown", "dark", []),
    ]
    other = found[2]
    assert other.judges[0].reason == "registration"
    assert (other.score, other.threshold) == (other.judges[1].score, 0.3)


def test_the_drawings_are_known_again_when_infer_is_started_anew(
    tmp_path: Path, matcher: str, textured: np.ndarray
) -> None:
    """A stage killed outright costs parts in flight; its successor tells products apart as before."""
    source = write_boards(tmp_path, {"0": True, "1": True}, textured) + "\nfps = 20\nrepeat = true"
    cv2.imwrite(str(tmp_path / "frames/1.a.png"), board(3))
    recipe = write_recipe(tmp_path, None, source, matcher + UNHURRIED)
    with Subscriber(tmp_path) as subscriber, running(recipe) as line:
        until(judged(subscriber, 4), "parts are judged", line)
        killed = line.kill("infer")
        until(lambda: line.pid("infer") != killed, "infer is back", line)
        until(judged(subscriber, 4), "parts are judged again", line)
        stop(line)
    known = [verdict for _, verdict in subscriber.verdicts if verdict.verdict != "unknown"]
    assert {(verdict.sequence % 2, verdict.reason) for verdict in known} == {(1, "clean"), (0, "product")}


@pytest.mark.parametrize(("fault", "reason"), [("nan", "score"), ("device lost", "engine")])
@pytest.mark.parametrize("failing", ["first", "second"])
def test_one_judge_gone_wrong_never_passes_a_part(
    tmp_path: Path,
    score_bundle: Path,
    constant_bundle: Callable[..., Path],
    textured: np.ndarray,
    failing: str,
    fault: str,
    reason: str,
) -> None:
    """However good the part is to the other judge: each fourth is unknown, with its reason, the others pass."""
    source = write_boards(tmp_path, {f"{i:02d}": True for i in range(12)}, textured) + "\nfps = 20"
    judges = [judge("failing", constant_bundle(fault=fault, every=4)), judge("sound", score_bundle)]
    sections = "".join(judges if failing == "first" else reversed(judges))
    found = verdicts_of(tmp_path, write_recipe(tmp_path, None, source, sections + UNHURRIED), 12)
    reasons = [verdict.reason for verdict in found]
    assert reasons == (["clean"] * 3 + [reason]) * 3
    assert [verdict.verdict for verdict in found] == (["pass"] * 3 + ["unknown"]) * 3
    for verdict in found:
        assert verdict.detail or verdict.verdict == "pass"


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (None, ["pass", "pass", "pass"]),
        ("bonferroni", ["pass", "pass", "pass"]),
        ("fisher", ["pass", "pass", "reject"]),
    ],
)
def test_judges_that_each_find_a_part_a_little_odd_reject_it_together(
    tmp_path: Path, score_bundle: Path, textured: np.ndarray, how: How | None, expected: list[str]
) -> None:
    """A part that is rare on its left and rare on its right is rarer: Fisher's sum rejects it, nothing else."""
    good = [float(deviation(_darker(textured, step))["score"][0]) - 1e-4 for step in range(60)]
    bundle = altered(
        score_bundle,
        tmp_path / "calibrated",
        thresholds={"anomaly": max(good) + 0.01},
        calibration=calibration(good),
    )
    (tmp_path / "frames").mkdir()
    for i, sides in enumerate([(5, 20), (57, 5), (57, 57)]):
        picture = np.hstack([_darker(textured, step) for step in sides])
        cv2.imwrite(str(tmp_path / f"frames/{i}.a.png"), picture)
    source = 'kind = "folder"\nfiles = "frames/*.{view}.png"\nwidth = 128\nheight = 64\nfps = 20'
    judges = judge("left", bundle, crop=[0, 0, 64, 64]) + judge("right", bundle, crop=[64, 0, 64, 64])
    fusion = f'[fusion]\nhow = "{how}"\nfalse_reject = 0.04\n' if how else ""
    found = verdicts_of(tmp_path, write_recipe(tmp_path, None, source, judges + fusion + UNHURRIED), 3)
    assert [verdict.verdict for verdict in found] == expected
    odd, p = found[2], 3 / 61  # two good parts were darker still
    assert [judged.p_value for judged in odd.judges] == [pytest.approx(p, rel=1e-3)] * 2
    assert all(judged.score < judged.threshold for judged in odd.judges)
    together = combine([p, p], how) if how else p
    assert odd.p_value == pytest.approx(together, rel=1e-3)


def _darker(picture: np.ndarray, step: int) -> np.ndarray:
    return np.maximum(picture.astype(int) - step, 0).astype(np.uint8)


def test_nothing_is_found_where_a_judge_ignores(
    tmp_path: Path, tiny_bundle: Path, textured: np.ndarray
) -> None:
    """Two comparators: one sees the spots, the other ignores their place and passes all but another spot."""
    source = write_boards(tmp_path, {"0": True, "1": False, "2": True}, textured) + "\nfps = 20"
    other = textured.copy()
    other[44:52, 12:20] = 255
    cv2.imwrite(str(tmp_path / "frames/2.a.png"), other)
    mask = np.zeros((64, 64), np.uint8)
    mask[16:32, 32:48] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    keys = {"masters": f"{tmp_path}/masters/{{view}}.png"}
    judges = judge("all", tiny_bundle, **keys) + judge("most", tiny_bundle, ignore="mask.png", **keys)
    recipe = write_recipe(tmp_path, None, source, judges + UNHURRIED)
    found = verdicts_of(tmp_path, recipe, 3)
    assert [said(verdict)[2] for verdict in found] == [
        [("all", "pass"), ("most", "pass")],
        [("all", "reject"), ("most", "pass")],
        [("all", "reject"), ("most", "reject")],
    ]


def test_a_part_that_is_cut_into_tiles_gets_one_verdict(
    tmp_path: Path, tiny_bundle: Path, score_bundle: Path
) -> None:
    """Of a comparator and a model of good parts, with spots on seams and in corners, for many parts at once."""
    noise = np.random.default_rng(7).normal(0, 1, (112, 160)).astype(np.float32)
    master = np.clip(100 + 160 * cv2.GaussianBlur(noise, (0, 0), 2.5), 20, 180).astype(np.uint8)
    source = write_boards(tmp_path, {f"{i:02d}": True for i in range(12)}, master) + "\nfps = 40"
    spots = {1: (50, 52), 4: (0, 0), 7: (104, 152), 10: (28, 100)}
    for number, (y, x) in spots.items():
        board = master.copy()
        board[y : y + 8, x : x + 8] = 255
        cv2.imwrite(str(tmp_path / f"frames/{number:02d}.a.png"), board)
    judges = (
        judge(
            "defects",
            tiny_bundle,
            masters=f"{tmp_path}/masters/{{view}}.png",
            tiles=[3, 2],
        )
        + "thresholds = { spot = 0.5, shade = 0.4 }\n"
    )
    judges += judge("odd", score_bundle, tiles=[3, 2]) + "thresholds = { anomaly = 0.5 }\n"
    found = verdicts_of(tmp_path, write_recipe(tmp_path, None, source, judges + UNHURRIED), 12)
    assert [verdict.verdict for verdict in found] == [
        "reject" if number in spots else "pass" for number in range(12)
    ]
    for number, (y, x) in spots.items():
        assert {judged.name: judged.verdict for judged in found[number].judges} == {
            "defects": "reject",
            "odd": "pass",
        }
        for region in found[number].regions:
            assert x - 5 <= region.x <= region.x + region.w <= x + 13
            assert y - 5 <= region.y <= region.y + region.h <= y + 13
