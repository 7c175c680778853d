"""Makes a data set with painted defects from good training pictures, so that variants can be compared.

`parts` is a folder in MVTec AD's layout, of which only train/good is used. The new folder has the same layout.
Its train/good has most of the pictures; the others are its test/good and, with one painted defect each, the
defective test parts: a scratch, a spot, a blurred patch, a patch from elsewhere on the part, and a stain.
Defects are small and large, faint and strong. So the real test parts decide nothing, and stay a fair test.

The same seed makes the same files. Prints one line of JSON with the number of pictures in each folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from trt_build.data.errors import DatasetError
from trt_build.data.parts import frame_of, read_parts, split_good
from trt_build.data.pictures import save
from trt_build.data.shares import share_of

Picture = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]

#: Share of the good training pictures that the test gets.
TEST = 0.3
#: Radius of a defect as a share of the picture's shorter side: each power of ten is equally frequent.
RADIUS = (0.012, 0.1)
#: Difference in grey levels between a defect and the part under it, of the strongest colour.
CONTRAST = (12.0, 80.0)
#: Least change, in grey levels, that a mask calls a defect. Smaller changes are undone.
VISIBLE = 5
#: Least area of a mask as a share of the picture, and places that are tried until a defect is that large.
LEAST_AREA, TRIES = 2e-4, 50


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where in a window of a picture a defect is, and how large it is, in pixels."""

    x: int
    y: int
    radius: float


def paint(
    picture: Picture, part: Picture, kind: str, rng: np.random.Generator
) -> tuple[Picture, Picture] | None:
    """Return a copy of `picture` with one defect, and the defect's mask, `(H, W)` uint8, 0 or 255.

    `picture` is `(H, W)` or `(H, W, 3)` BGR, uint8. `part` is not 0 where a defect may be, `(H, W)` uint8.
    `kind` is a name in KINDS. Outside the mask no pixel is changed. Return None if the part is so even that no
    place could be found at which such a defect shows.
    """
    rows, columns = np.nonzero(part)
    for _ in range(TRIES):
        pick = rng.integers(len(rows))
        radius = min(part.shape) * float(np.exp(rng.uniform(*np.log(RADIUS))))
        y, x, reach = int(rows[pick]), int(columns[pick]), round(8 * radius)
        top, left = max(y - reach, 0), max(x - reach, 0)
        window = slice(top, y + reach), slice(left, x + reach)
        place = Place(x=x - left, y=y - top, radius=radius)
        painted, mask = _painted(picture[window], part[window] > 0, kind, place, rng)
        if mask.sum() >= LEAST_AREA * part.size:
            defective, whole = picture.copy(), np.zeros(part.shape, np.uint8)
            defective[window], whole[window] = painted, mask * np.uint8(255)
            return defective, whole
    return None


def _painted(
    picture: Picture, part: npt.NDArray[np.bool_], kind: str, place: Place, rng: np.random.Generator
) -> tuple[Picture, npt.NDArray[np.bool_]]:
    """Return a window of a picture with a defect, in the window's shape, and the defect's mask `(H, W)`."""
    colours = np.atleast_3d(picture).astype(np.float32)
    shape = (_stroke if kind == "scratch" else _blob)(part.shape, place, rng)
    painted = colours + shape[..., None] * (KINDS[kind](colours, place, rng) - colours)
    painted = np.clip(np.round(painted), 0, 255)
    changed = np.abs(painted - colours).max(axis=2) >= VISIBLE
    closed = cv2.morphologyEx(changed.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    mask = (closed > 0) & part
    return np.where(mask[..., None], painted, colours).astype(np.uint8).reshape(picture.shape), mask


def part_of(picture: Picture) -> Picture:
    """Return 1 at the pixels of the part and 0 at a plain background, `(H, W)` uint8.

    A background is plain if the rim of the picture is mostly of one colour. Otherwise all pixels count as part.
    """
    colours = np.atleast_3d(picture).astype(np.float32)
    rim = np.concatenate((colours[:3], colours[-3:])).reshape(-1, colours.shape[2])
    usual = np.median(rim, axis=0)
    far = np.abs(colours - usual).max(axis=2).clip(0, 255).astype(np.uint8)
    split, _ = cv2.threshold(far, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    whole = np.ones(far.shape, np.uint8)
    if np.median(np.abs(rim - usual).max(axis=1)) > split / 4:
        return whole
    # Holes in the part, such as bright places, are part.
    differs = (far > split / 2).astype(np.uint8)
    outlines, _ = cv2.findContours(differs, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    found = cv2.drawContours(whole * 0, sorted(outlines, key=cv2.contourArea)[-1:], -1, 1, cv2.FILLED)
    inner = cv2.erode(np.asarray(found, np.uint8), np.ones((5, 5), np.uint8))
    return np.asarray(inner if inner.mean() > 0.02 else whole, np.uint8)


def _stroke(size: tuple[int, int], place: Place, rng: np.random.Generator) -> Plane:
    """Return a thin bent line through the place that is 1 in its middle and 0 elsewhere, `(H, W)`."""
    direction = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.25, 12))
    path = np.cumsum(np.stack((np.cos(direction), np.sin(direction)), axis=1), axis=0) * place.radius / 3
    points = np.round(path - path.mean(axis=0) + (place.x, place.y)).astype(np.int32)
    line = np.zeros(size, np.float32)
    cv2.polylines(line, [points], False, 1.0, int(1 + rng.integers(1 + place.radius // 8)), cv2.LINE_8)
    smooth = cv2.GaussianBlur(line, (0, 0), float(rng.uniform(0.6, 1.2)))
    return np.asarray(smooth / max(float(smooth.max()), 1e-6), np.float32)


def _blob(size: tuple[int, int], place: Place, rng: np.random.Generator) -> Plane:
    """Return an uneven ellipse around the place that falls smoothly from 1 to 0 at its edge, `(H, W)`."""
    rows, columns = np.indices(size, np.float32)
    turn, longer = rng.uniform(0, np.pi), rng.uniform(1, 1.6)
    x, y = columns - place.x, rows - place.y
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    coarse = rng.normal(0, 0.25, [max(2, round(side / place.radius)) for side in size]).astype(np.float32)
    uneven = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
    inside = 1 - np.hypot(along / longer, across * longer) / place.radius + uneven
    return np.asarray(np.clip(inside / rng.uniform(0.15, 0.9), 0, 1), np.float32)


def _contrast(channels: int, rng: np.random.Generator, colourful: float) -> Plane:
    """Return differences of colour, `(channels,)`, in grey levels. They are alike if `colourful` is 0."""
    tone = rng.choice((-1.0, 1.0)) * (1 - colourful) + rng.uniform(-1, 1, channels) * colourful
    strength = np.exp(rng.uniform(*np.log(CONTRAST)))
    return np.asarray(tone / np.abs(tone).max() * strength, np.float32)


def _scratched(colours: Plane, place: Place, rng: np.random.Generator) -> Plane:
    """Return the part with its surface scratched off: brighter or darker, with its grain."""
    return colours + _contrast(colours.shape[2], rng, 0.2)


def _spotted(colours: Plane, place: Place, rng: np.random.Generator) -> Plane:
    """Return the part with something else on it, of any colour, which hides half of its structure."""
    smooth = np.atleast_3d(cv2.GaussianBlur(colours, (0, 0), place.radius)).reshape(colours.shape)
    return (colours + smooth) / 2 + _contrast(colours.shape[2], rng, 0.6)


def _stained(colours: Plane, place: Place, rng: np.random.Generator) -> Plane:
    """Return the part with its colours lighter or darker, each by a share of its own, and all its structure."""
    return np.asarray(colours * (1 + _contrast(colours.shape[2], rng, 0.8) / 128), np.float32)


def _blurred(colours: Plane, place: Place, rng: np.random.Generator) -> Plane:
    """Return the part with its structure worn off or covered: only its coarse brightness is left."""
    return np.asarray(cv2.GaussianBlur(colours, (0, 0), place.radius), np.float32).reshape(colours.shape)


def _pasted(colours: Plane, place: Place, rng: np.random.Generator) -> Plane:
    """Return the part turned and moved, so that something from elsewhere on it is seen at the place."""
    away, angle = rng.uniform(2, 6) * place.radius, rng.uniform(0, 2 * np.pi)
    matrix = cv2.getRotationMatrix2D((place.x, place.y), float(rng.uniform(0, 360)), 1.0)
    matrix[:, 2] += away * np.array([np.cos(angle), np.sin(angle)])
    moved = cv2.warpAffine(colours, matrix, colours.shape[1::-1], borderMode=cv2.BORDER_REFLECT)
    return np.asarray(moved, np.float32).reshape(colours.shape)


#: What each kind of defect shows instead of the part, `(H, W, C)`, from the part's colours and the place.
KINDS: dict[str, Callable[[Plane, Place, np.random.Generator], Plane]] = {
    "scratch": _scratched,
    "spot": _spotted,
    "blurred": _blurred,
    "pasted": _pasted,
    "stain": _stained,
}


def write_painted(parts: Path, out: Path, seed: int) -> dict[str, int]:
    """Write the new data set into the folder `out`, and return the number of pictures by their folder.

    Raise DatasetError if `out` exists, or if too few good training pictures are left to train with.
    """
    if out.exists():
        raise DatasetError(f"{out}: exists already: give the name of a new folder")
    good = read_parts(parts, mixed_sizes=True).train
    kept = [part for part in good if share_of(f"painted/{part.name}", seed) < TEST]
    train = [part for part in good if part not in kept]
    split_good(train)
    counts: dict[str, int] = {}

    def place(kind: str) -> Path:
        (out / kind).mkdir(parents=True, exist_ok=True)
        counts[kind] = counts.get(kind, 0) + 1
        return out / kind

    for part in train:
        shutil.copyfile(part.path, place("train/good") / part.path.name)
    for part in kept:
        picture = frame_of(part)
        save(place("test/good") / f"{part.path.stem}.png", picture)
        for kind in KINDS:
            rng = np.random.default_rng(list(f"{seed}/{kind}/{part.name}".encode()))
            if (painted := paint(picture, part_of(picture), kind, rng)) is not None:
                save(place(f"test/{kind}") / f"{part.path.stem}.png", painted[0])
                save(place(f"ground_truth/{kind}") / f"{part.path.stem}_mask.png", painted[1])
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", type=Path, help="folder of parts, whose good training pictures are used")
    parser.add_argument("out", type=Path, help="new folder for the data set")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random numbers (default %(default)s)")
    options = parser.parse_args()
    counts = write_painted(options.parts, options.out, options.seed)
    print(json.dumps({"data": options.parts.name, "seed": options.seed} | counts))


if __name__ == "__main__":
    main()
