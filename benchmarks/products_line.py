"""Runs a line on photos of products that a matcher was not trained with, and checks its verdicts.

For some of the products that were kept from training a line is run that has the drawings of one of them, and
gets the photos of all of them. It has to pass and reject what the model's scores say when they are computed as
`trt-build evaluate` does. Ends with one line of JSON; the status is 1 if a verdict is missing, comes twice or
differs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from deeppcb_line import play
from parts_line import write_recipe

from edge.bundle import Bundle, read_bundle
from edge.judges.golden import scores
from edge.messages import Verdict
from edge.recipe import EngineChoice
from trt_build.data.cases import Case, evenly, judge_all
from trt_build.data.products import DRAWING, PHOTO, Pictures
from trt_build.methods.matcher.split import held_out_pictures


def write_frames(folder: Path, data: Path, photos: Pictures) -> tuple[int, ...]:
    """Write the photos into `folder` in their order; return their shape, which has to be the same for all."""
    paths = [
        path for p in np.unique(photos.product) for path in sorted((data / photos.names[p]).glob("photo*"))
    ]
    assert len(paths) == len(photos)
    for number, path in enumerate(paths):
        (folder / f"{number:05d}{path.suffix}").symlink_to(path.resolve())
    shapes: set[tuple[int, ...]] = {cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape for path in paths}
    if len(shapes) > 1:
        sys.exit(f"{data}: expected photos of one shape, as of one camera, found {sorted(shapes)}")
    return shapes.pop()


def expected(bundle: Bundle, photos: Pictures, drawings: np.ndarray) -> np.ndarray:
    """Return which photos are to be rejected, `(N,)` bool, where the product has these drawings."""
    cases = [Case(name=str(i), image=photos.pictures[i : i + 1], master=drawings) for i in range(len(photos))]
    found = [scores(outputs)[0] for outputs in judge_all(bundle, EngineChoice(), cases)]
    (threshold,) = bundle.manifest.thresholds.values()
    return np.greater_equal(np.array(found, np.float32), np.float32(threshold))


class Played(NamedTuple):
    """What a line that makes one product said of all photos."""

    verdicts: list[Verdict]
    rejects: np.ndarray  # `(N,)` bool, what the matcher's scores say
    own: np.ndarray  # `(N,)` bool, the photos of that product

    @property
    def once(self) -> bool:
        """Whether each photo has one verdict, in their order."""
        epoch = self.verdicts[0].epoch
        return [v.part_id for v in self.verdicts] == [f"{epoch}-{n}" for n in range(1, len(self.own) + 1)]

    def passed(self, photos: np.ndarray) -> int:
        """Return how many of these photos passed, `(N,)` bool."""
        return int(np.array([v.verdict == "pass" for v in self.verdicts])[photos].sum())

    def differ(self) -> list[int]:
        """Return the photos that the line judged otherwise than the scores say."""
        said = zip(self.verdicts, self.rejects, strict=True)
        return [i for i, (v, rejects) in enumerate(said) if v.verdict != ("reject" if rejects else "pass")]


def play_product(bundle: Bundle, given: argparse.Namespace, kept: Pictures, product: int) -> Played:
    """Run a line that makes one product on the held-out photos of all products."""
    photos = kept.where(kept.hand == PHOTO)
    drawings = kept.pictures[(kept.product == product) & (kept.hand == DRAWING)]
    with tempfile.TemporaryDirectory(prefix="products-line-") as temporary:
        folder = Path(temporary)
        (folder / "frames").mkdir()
        height, width, *colors = write_frames(folder / "frames", given.data, photos)
        shown = (given.data / kept.names[product]).resolve()
        judge = f'bundle = "{given.bundle.resolve()}"\ndrawings = "{shown}/drawing*"'
        color = "bgr" if colors else "gray"
        recipe = write_recipe(folder, judge, width=width, height=height, color=color, fps=given.fps)
        verdicts = play(recipe, f"ipc://{folder}/verdicts.ipc", len(photos))
    return Played(verdicts, expected(bundle, photos, drawings), photos.product == product)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="folder of the packed matcher to run")
    parser.add_argument("data", type=Path, help="folder of products that it was trained with")
    parser.add_argument(
        "--products",
        type=int,
        default=3,
        help="number of products to run a line for, one after another (default %(default)s)",
    )
    parser.add_argument("--fps", type=float, default=20.0, help="photos played a second (default %(default)s)")
    given = parser.parse_args()
    bundle = read_bundle(given.bundle)
    kept = held_out_pictures(given.data, bundle.manifest.input)
    photos = kept.where(kept.hand == PHOTO)
    known = evenly(np.unique(kept.product).tolist(), given.products)
    played = {kept.names[product]: play_product(bundle, given, kept, product) for product in known}
    heard = [verdict for one in played.values() for verdict in one.verdicts]
    differ = [
        f"{photos.names[photos.product[i]]} where {name} is made"
        for name, one in played.items()
        for i in one.differ()
    ]
    once = all(one.once for one in played.values())
    report = {
        "products": len(known),
        "parts": len(known) * len(photos),
        "verdicts": len(heard),
        "exactly_once": once,
        "differ": differ,
        "own_passed": sum(one.passed(one.own) for one in played.values()),
        "others_passed": sum(one.passed(~one.own) for one in played.values()),
        "unknown": Counter(v.reason for v in heard if v.verdict == "unknown"),
        "latency_ms_p50": round(float(np.median([v.latency_us["total"] for v in heard])) / 1000, 2),
    }
    print(json.dumps(report))
    return 0 if once and not differ else 1


if __name__ == "__main__":
    sys.exit(main())
