"""Counts how many boards pass that are partly covered or missing, on the way that every part takes.

Each good board is judged whole, and with a half, a third or a tenth of its area in black, grey and white:
rendered boards by the demonstration's model, and DeepPCB's masters, shifted and with noise, by its model. A
cover that differs from the master by less than two grey levels on average, such as a white patch where the
board is white, is counted apart. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle, read_bundle
from edge.demo import FOLDER
from edge.engines import processor
from edge.errors import PartError
from edge.image.masters import Masters
from edge.image.prepare import Preparer
from edge.judges.arming import armed_engine
from edge.judges.decide import decide
from edge.judges.golden import judge
from edge.judges.judge import judge_of
from edge.recipe import Recipe, Synthetic
from edge.recipe_file import read_recipe
from edge.render.board import design
from edge.render.photo import BoardPose, master, photograph
from trt_build.terminal.progress import counted

Picture = NDArray[np.uint8]

DEEPPCB = Path(__file__).parent / "bundles" / "deeppcb"
LEVELS = (0, 128, 255)
#: A cover's mean difference from the master, in grey levels, from which it counts.
LEAST_CHANGE = 2.0


@dataclass(frozen=True, kw_only=True)
class Clean:
    """A good board and the defect-free picture that it is compared with."""

    name: str
    picture: Picture  # (H, W) grey
    master: Picture  # (H, W) grey


def rendered(count: int) -> Iterator[Clean]:
    """Yield rendered boards of the demonstration's designs."""
    recipe, _ = read_recipe(FOLDER / "recipe.toml")
    assert isinstance(recipe.source, Synthetic)
    for number in range(count):
        plan = design(number % recipe.source.views, recipe.source.height, recipe.source.width)
        rng = np.random.default_rng([23, number])
        yield Clean(
            name=plan.view,
            picture=photograph(plan.art, plan, BoardPose.any(rng), rng),
            master=master(plan),
        )


def deeppcb(test: Path, count: int) -> Iterator[Clean]:
    """Yield DeepPCB's masters as another camera would take them."""
    rng = np.random.default_rng(29)
    for path in sorted(test.glob("*_temp.jpg"))[:count]:
        picture = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8)
        x, y = rng.uniform(-3, 3, 2)
        moved = cv2.warpAffine(
            picture, np.array([[1, 0, x], [0, 1, y]]), picture.shape[::-1], borderMode=cv2.BORDER_REPLICATE
        )
        noisy = np.clip(moved + rng.normal(0, 6, moved.shape), 0, 255).astype(np.uint8)
        yield Clean(name=path.stem, picture=noisy, master=picture)


def covers(board: Clean, rng: np.random.Generator) -> Iterator[tuple[str, Picture, float]]:
    """Yield the board under each cover: name, picture `(H, W)` uint8, mean difference from the master."""
    height, width = board.picture.shape
    side = int(np.ceil(np.sqrt(0.1 * height * width)))
    y, x = rng.integers(0, (height - side, width - side))
    places = {
        "half": [np.s_[: height // 2], np.s_[height // 2 :], np.s_[:, : width // 2], np.s_[:, width // 2 :]],
        "third": [np.s_[: height // 3], np.s_[height // 3 : 2 * height // 3], np.s_[:, 2 * width // 3 :]],
        "patch": [np.s_[y : y + side, x : x + side]],
    }
    for name, where in places.items():
        for place in where:
            for level in LEVELS:
                covered = board.picture.copy()
                covered[place] = level
                change = float(np.abs(board.master[place].astype(int) - level).mean())
                yield f"{name} in {level}", covered, change


class Line:
    """Does with one part what preprocess, infer and publish do, in this process."""

    def __init__(self, bundle: Bundle, recipe: Recipe, opened: ExitStack) -> None:
        self.manifest = bundle.manifest
        self._judge = judge_of(recipe, recipe.judges[0], bundle)
        self._preprocess = self._judge.preprocess
        self._engine = opened.enter_context(armed_engine(recipe.engine, bundle)).engine

    def verdict(self, board: Clean, picture: Picture) -> str:
        """Return `pass`, `reject`, or why the part is unknown."""
        spec = self.manifest.input
        masters = Masters(lambda view: (board.master, view), self._preprocess, spec, board.master.shape)
        image = np.empty(spec.shape, np.uint8)
        try:
            laid = Preparer(self._preprocess, spec, masters).prepare(picture, board.name, image)
            outputs = judge(self._engine, self.manifest, image, masters.get(board.name).input)
            return decide(outputs, laid.to_frame, self._judge.rule).verdict
        except PartError as error:
            return error.reason


def measure(bundle: Path, boards: list[Clean]) -> dict[str, object]:
    """Return how many good and covered boards pass, are rejected or are unknown."""
    recipe, _ = read_recipe(FOLDER / "recipe.toml")
    whole: Counter[str] = Counter()
    covered: Counter[str] = Counter()
    passed: list[dict[str, object]] = []
    unseen = 0
    rng = np.random.default_rng(31)
    with ExitStack() as opened:
        line = Line(read_bundle(bundle), recipe, opened)
        for board in counted(boards, "judging"):
            whole[line.verdict(board, board.picture)] += 1
            for name, picture, change in covers(board, rng):
                if change < LEAST_CHANGE:
                    unseen += 1
                    continue
                said = line.verdict(board, picture)
                covered[said] += 1
                if said == "pass":
                    passed.append({"cover": name, "board": board.name, "change": round(change, 1)})
    return {
        "clean": dict(whole),
        "covered": dict(covered),
        "passed": passed,
        "covers_that_change_nothing": unseen,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data",
        type=Path,
        help="folder with test/ (default: $EDGE_DATA/deeppcb; without both, only rendered boards)",
    )
    parser.add_argument("--boards", type=int, default=40, help="good boards of each kind (default %(default)s)")
    given = parser.parse_args()
    data = given.data
    if data is None and "EDGE_DATA" in os.environ:
        data = Path(os.environ["EDGE_DATA"]) / "deeppcb"
    found = {"demo": measure(FOLDER / "bundle", list(rendered(given.boards)))}
    if data is not None:
        found["deeppcb"] = measure(DEEPPCB, list(deeppcb(data / "test", given.boards)))
    print(json.dumps({"cpu": processor.name(), **found}))


if __name__ == "__main__":
    main()
