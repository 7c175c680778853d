"""Pictures of parts that tell their own number: the score that a judge gives one is its number divided by 255.

The master has a black square. In the picture with number n, each of the square's pixels is n, and the tiny
comparator scores the largest difference from the master. So a verdict says from which picture it was made, and
a verdict on another part's picture shows.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

SQUARE = np.s_[24:32, 36:44]  # whole blocks of a JPEG and whole cells of the judge
#: A number from here on is a defect's: its score is above the tiny bundle's threshold of 0.5.
BAD = 140
#: Numbers lie this far apart, for a JPEG changes grey levels by 1 or 2.
STEP = 4
GOOD_NUMBERS, BAD_NUMBERS = range(4, 113, STEP), range(BAD, 249, STEP)
#: Whatever the parts' place and light, the tiny comparator must see the pixels as they were written.
EXACTLY = '[preprocess.register]\nmotion = "none"\nmin_correlation = 0.0\n[engine]\nprecision = "fp32"\n'


def master() -> NDArray[np.uint8]:
    """A grey picture `(64, 64)` uint8 of random blocks, with the black square."""
    blocks = np.random.default_rng(7).integers(40, 120, (8, 8)).astype(np.uint8)
    picture = cv2.resize(blocks, (64, 64), interpolation=cv2.INTER_NEAREST)
    picture[SQUARE] = 0
    return np.asarray(picture, np.uint8)


def picture(number: int) -> NDArray[np.uint8]:
    """The picture `(64, 64)` uint8 of a part with this number, 0 to 255."""
    found = master()
    found[SQUARE] = number
    return found


def jpeg(number: int) -> bytes:
    """The same as a JPEG, whose grey levels are off by 1 at most."""
    return cv2.imencode(".jpg", picture(number), [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()


def number_in(score: float) -> float:
    """The number of the picture that has this score."""
    return score * 255


def write_parts(folder: Path, *, damaged_every: int = 7) -> str:
    """Write a master and pictures, good and bad ones in turn; returns the [source] section of them.

    Each so-many-th picture is cut in the middle. A name says the number, and whether the picture is cut.
    """
    for name in ("masters", "frames"):
        (folder / name).mkdir(exist_ok=True)
    cv2.imwrite(str(folder / "masters/a.png"), master())
    numbers = [number for pair in zip(GOOD_NUMBERS, BAD_NUMBERS, strict=True) for number in pair]
    for place, number in enumerate(numbers):
        data = cv2.imencode(".png", picture(number))[1].tobytes()
        is_cut = place % damaged_every == damaged_every - 1
        name = f"{place:03d}-{number:03d}{'-cut' if is_cut else ''}.a.png"
        (folder / "frames" / name).write_bytes(data[: len(data) // 2] if is_cut else data)
    return 'kind = "folder"\nfiles = "frames/*.{view}.png"\nwidth = 64\nheight = 64'


def number_named(source_ref: str) -> int | None:
    """The number of the picture with this name; None if the picture is cut."""
    words = Path(source_ref).name.split(".")[0].split("-")
    return None if words[2:] == ["cut"] else int(words[1])
