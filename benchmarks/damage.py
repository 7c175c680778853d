"""Counts the damage that the checks of pictures and streams do not find, and times the checks; prints JSON.

Pictures of boards are cut off, lose bytes, or get other bytes or flipped bits; video files lose packets. A
picture that is not refused should be unchanged: `passed` counts those that are not, by the size of the damage.
`verdicts` are those of the demonstration's line on damaged JPEGs of a board with one small defect, and of a
good board.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack

import cv2
import numpy as np
from check_cost import cost
from coded_boards import FORMATS, Image, board, coded
from covered import Clean, Line
from lost_packets import lost_packets

from edge import recipe
from edge.bundle import read_bundle
from edge.demo import FOLDER
from edge.engines import processor
from edge.errors import PictureError
from edge.pictures import check_jpeg, decode
from edge.recipe_file import read_recipe
from edge.render.board import design
from edge.render.photo import master
from edge.sources.streams.multipart import Splitter
from edge.sources.synthetic import render

#: Returns damaged bytes, and how many bytes were damaged.
Damage = Callable[[np.random.Generator], tuple[bytes, int]]
#: Sizes of damage in bytes, by which `passed` is counted.
SIZES = (10, 100, 1000, 10_000)


def scan_of(data: bytes) -> tuple[int, int]:
    """Return where damage may begin, behind the headers of a JPEG or PNG, and where it has to end."""
    at = data.index(b"\xff\xda") if data.startswith(b"\xff\xd8") else 33
    return at + 14, len(data) - 2


def damages(data: bytes, other: bytes) -> dict[str, Damage]:
    """Return the ways to damage a file; holes of each power of ten bytes are equally frequent."""
    first, last = scan_of(data)

    def cut(rng: np.random.Generator) -> tuple[bytes, int]:
        at = int(rng.integers(1, len(data) - 1))
        return data[:at], len(data) - at

    def cut_and_ended(rng: np.random.Generator) -> tuple[bytes, int]:
        at = int(rng.integers(first, last - 1))
        return data[:at] + data[-12 if data.startswith(b"\x89") else -2 :], last - at

    def hole(rng: np.random.Generator, fill: Callable[[int, int], bytes]) -> tuple[bytes, int]:
        length = int(10 ** rng.uniform(0, np.log10((last - first) // 2)))
        at = int(rng.integers(first, last - length))
        return data[:at] + fill(at, length) + data[at + length :], length

    return {
        "cut": cut,
        "cut, end there": cut_and_ended,
        "hole": lambda rng: hole(rng, lambda at, length: b""),
        "zeros": lambda rng: hole(rng, lambda at, length: bytes(length)),
        "grey": lambda rng: hole(rng, lambda at, length: b"\x80" * length),
        "bytes before it": lambda rng: hole(rng, lambda at, length: data[max(0, at - length) : at]),
        "the picture before": lambda rng: hole(rng, lambda at, length: other[at : at + length]),
    }


def bucket(size: int) -> str:
    """Return the row of SIZES to which a damage of this size belongs."""
    return next((f"up to {limit}" for limit in SIZES if size <= limit), f"over {SIZES[-1]}")


def tried(whole: Image, damage: Damage, read: Callable[[bytes], Image], trials: int) -> dict[str, object]:
    """Return how many damaged pictures were refused, were identical to `whole` or passed as another picture."""
    rng, count, passed, of = np.random.default_rng(0), Counter[str](), Counter[str](), Counter[str]()
    for _ in range(trials):
        damaged, size = damage(rng)
        of[bucket(size)] += 1
        try:
            found = read(damaged)
        except PictureError:
            count["refused"] += 1
            continue
        if found.shape == whole.shape and np.array_equal(found, whole):
            count["identical"] += 1
        else:
            count["passed"] += 1
            passed[bucket(size)] += 1
    return {**count, "passed by size": {key: f"{passed[key]} of {of[key]}" for key in of if passed[key]}}


def pictures(trials: int) -> dict[str, object]:
    """Return for each format and way of damage how many pictures were refused or passed."""
    found: dict[str, object] = {}
    picture, before = board(2), board(1)
    for kind in FORMATS:
        data, other = coded(picture, kind), coded(before, kind)
        whole = decode(data, "")
        found[kind] = {
            how: tried(whole, damage, lambda damaged: decode(damaged, ""), trials)
            for how, damage in damages(data, other).items()
        }
    return found


def mjpeg(trials: int) -> dict[str, object]:
    """Return the same for one part of an MJPEG stream between two good ones, which have to be read whole."""
    data, other = coded(board(2), "jpeg"), coded(board(1), "jpeg")
    whole, good = decode(data, ""), decode(other, "")

    def read(damaged: bytes) -> Image:
        def part(body: bytes, length: int) -> bytes:
            return b"--f\r\nContent-Length: %d\r\n\r\n%s\r\n" % (length, body)

        stream = part(other, len(other)) + part(damaged, len(data)) + part(other, len(other))
        parts = list(Splitter("f").feed(stream, 1))
        assert len(parts) == 3, "a part is missing"
        assert all(np.array_equal(decode(parts[at].data, ""), good) for at in (0, 2)), "a good part is damaged"
        if parts[1].wrong:
            raise PictureError(parts[1].wrong)
        return decode(parts[1].data, "")

    return {how: tried(whole, damage, read, trials) for how, damage in damages(data, other).items()}


def verdicts(trials: int) -> dict[str, object]:
    """Return the verdicts of the demonstration's line on damaged pictures, and the largest change that passed.

    The change is the percentage of pixels that differ by more than 16 grey levels.
    """
    section, plan = recipe.Synthetic(height=640, width=640), design(0, 640, 640)
    clean = Clean(name=plan.view, picture=master(plan), master=master(plan))
    found: dict[str, object] = {}
    with ExitStack() as opened:
        line = Line(read_bundle(FOLDER / "bundle"), read_recipe(FOLDER / "recipe.toml")[0], opened)
        shown = [render(section, plan, sequence) for sequence in range(1, 60)]
        good = next(board for board, defects in shown if not defects and line.verdict(clean, board) == "pass")
        bad = next(board for board, defects in shown if len(defects) == 1)
        assert line.verdict(clean, bad) == "reject"
        for what, picture in (("a board with a defect", bad), ("a good board", good)):
            for kind in FORMATS:
                data = coded(picture, kind)
                whole, said, change = decode(data, ""), Counter[str](), 0.0
                for damage in damages(data, coded(shown[1][0], kind)).values():
                    rng = np.random.default_rng(0)
                    for damaged in (damage(rng)[0] for _ in range(trials)):
                        try:
                            left = decode(damaged, "")
                        except PictureError:
                            said["refused"] += 1
                            continue
                        verdict = line.verdict(clean, left)
                        said[verdict] += 1
                        if verdict == "pass":
                            off = np.abs(left.astype(int) - whole) > 16
                            change = max(change, 100 * float(off.mean()))
                found[f"{what}, {kind}"] = {**said, "largest change that passed": round(change, 3)}
    return found


def bit_flips(trials: int) -> dict[str, object]:
    """Return how many flipped bits in a scan the structure finds, the decoder finds or neither."""
    found: dict[str, object] = {}
    for kind in FORMATS:
        if kind == "png":
            continue
        data, rng = coded(board(2), kind), np.random.default_rng(0)
        whole, (first, last) = decode(data, ""), scan_of(data)
        count, shares = Counter[str](), []
        for _ in range(trials):
            at = int(rng.integers(first, last))
            damaged = data[:at] + bytes([data[at] ^ (1 << int(rng.integers(8)))]) + data[at + 1 :]
            try:
                check_jpeg(damaged)
                changed = decode(damaged, "") != whole
                count["left" if changed.any() else "identical"] += 1
                shares += [float(changed.mean())] if changed.any() else []
            except PictureError as error:
                count["decoder" if "do not decode" in str(error) else "structure"] += 1
        told = {"median": float(np.median(shares or [0])), "most": max(shares, default=0.0)}
        found[kind] = {**count, "share of pixels changed where left": told}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--trials", type=int, default=500, help="damaged pictures of each kind (default %(default)s)"
    )
    parser.add_argument(
        "--films",
        type=int,
        default=30,
        help="video files that lose packets, of each codec (default %(default)s)",
    )
    parser.add_argument(
        "--repeats", type=int, default=40, help="number of times that each check is timed (default %(default)s)"
    )
    options = parser.parse_args()
    logging.disable()
    cv2.utils.logging.setLogLevel(0)
    cv2.setNumThreads(1)
    figures = {
        "processor": processor.name(),
        "cost at 2448x2048": cost(options.repeats),
        "pictures": pictures(options.trials),
        "a part of an MJPEG stream": mjpeg(options.trials),
        "verdicts": verdicts(options.trials // 5),
        "bit flips": bit_flips(options.trials),
        "lost packets": lost_packets(options.films),
    }
    json.dump(figures, sys.stdout)
    print()


if __name__ == "__main__":
    main()
