"""How much damage gets past the checks of pictures and streams, and what the checks cost. One line of JSON.

Pictures of boards are cut, get holes, get bytes of another kind, or lose bits; films lose packets. Whatever is
not refused has to be the picture that it was. `passed` counts what is another one, by the size of the damage.
`verdicts` are those of the demonstration's line on damaged JPEGs of a board with one small defect and of a good
one.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import av
import cv2
import numpy as np
from covered import Clean, Line
from numpy.typing import NDArray

from edge import recipe
from edge.bundle import read_bundle
from edge.demo import FOLDER
from edge.engines import processor
from edge.errors import PartError, PictureError, SourceEnded
from edge.pictures import check_jpeg, decode, decode_jpeg
from edge.pictures.png import check_png
from edge.recipe_file import read_recipe
from edge.render.board import design
from edge.render.photo import master
from edge.sources import open_source
from edge.sources.streams.multipart import Splitter
from edge.sources.synthetic import render

Image = NDArray[np.uint8]
Damage = Callable[[np.random.Generator], tuple[bytes, int]]  # damaged bytes, and how many are concerned
SIZES = (10, 100, 1000, 10_000)  # bytes, for the table of what passed
FORMATS: dict[str, tuple[str, list[int]]] = {
    "jpeg": (".jpg", []),
    "jpeg with restart intervals": (".jpg", [cv2.IMWRITE_JPEG_RST_INTERVAL, 16]),
    "jpeg, progressive": (".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
    "png": (".png", []),
}


def board(sequence: int, height: int = 640, width: int = 640, color: str = "gray") -> Image:
    """A board of the first design, somewhat off its place."""
    section = recipe.Synthetic(height=height, width=width, color=color)  # type: ignore[arg-type]
    return render(section, design(0, height, width), sequence)[0]


def coded(picture: Image, kind: str) -> bytes:
    ending, options = FORMATS[kind]
    return cv2.imencode(ending, picture, options)[1].tobytes()


def scan_of(data: bytes) -> tuple[int, int]:
    """Where damage may begin and has to end: behind a JPEG's headers, or a PNG's."""
    at = data.index(b"\xff\xda") if data.startswith(b"\xff\xd8") else 33
    return at + 14, len(data) - 2


def damages(data: bytes, other: bytes) -> dict[str, Damage]:
    """Ways to lose bytes; holes are of all sizes, each power of ten as often."""
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
    return next((f"up to {limit}" for limit in SIZES if size <= limit), f"over {SIZES[-1]}")


def tried(whole: Image, damage: Damage, read: Callable[[bytes], Image], trials: int) -> dict[str, object]:
    """How many were refused, came out as they were, or passed as another picture."""
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
    """The same of one part of a stream between two good ones, which have to come out whole."""
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
    """What the demonstration's line makes of a damaged JPEG, and the largest change of what passed.

    The change is the share of pixels, in percent, that are off by more than 16 grey levels.
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
    """One flipped bit in a scan: found by the structure, by the decoder, or not; and what is left of it."""
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


def film(path: Path, codec: str, between: int, lost: set[int]) -> None:
    """A film of boards that move, without some of its packets."""
    picture = board(2, 256, 256, "bgr")
    options = {"libx265": {"x265-params": f"log-level=none:keyint=15:bframes={between}"}}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options.get(codec, {}))
        stream.width, stream.height, stream.pix_fmt = 256, 256, "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = 15, between
        count = 0
        for number in range(61):
            moved = np.roll(picture, 3 * number, axis=1)
            frame = av.VideoFrame.from_ndarray(moved, "bgr24") if number < 60 else None
            for packet in stream.encode(frame):
                if count not in lost:
                    container.mux(packet)
                count += 1


def frames(path: Path) -> Iterator[Image | None]:
    section = recipe.Video(address=str(path), width=256, height=256, color="bgr")
    out = np.zeros(section.shape, np.uint8)
    with open_source(section) as source:
        while True:
            try:
                source.wait(10)
                source.read(out)
                yield out.copy()
            except PartError:
                yield None
            except SourceEnded:
                return


def lost_packets(trials: int) -> dict[str, object]:
    """Films without some packets: frames that are shown, and those of them that are none of the film's."""
    found: dict[str, object] = {}
    rng = np.random.default_rng(0)
    for codec, between in (("libx264", 0), ("libx264", 2), ("libx265", 0), ("libx265", 2)):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "film.mp4"
            film(path, codec, between, set())
            whole = {frame.tobytes() for frame in frames(path) if frame is not None}
            count = Counter[str]()
            for _ in range(trials):
                lost = set(rng.choice(np.arange(1, 60), rng.integers(1, 4), replace=False).tolist())
                film(path, codec, between, lost)
                for frame in frames(path):
                    sound = frame is not None and frame.tobytes() in whole
                    count["unknown" if frame is None else "shown" if sound else "passed"] += 1
        found[f"{codec[3:]}, {between} B-frames"] = {"frames of the whole": len(whole), **count}
    return found


def cost(repeats: int) -> dict[str, object]:
    """Median and 99th percentile in ms of check and decoder at 2448x2048, and the ratio of the medians."""
    found: dict[str, object] = {}
    kinds = [(kind, color) for kind in FORMATS for color in ("gray", "bgr")]
    for kind, color in kinds:
        data = coded(board(2, 2048, 2448, color), kind)
        check = check_png if kind == "png" else check_jpeg
        array = np.frombuffer(data, np.uint8)

        def opencv(array: Image = array) -> None:
            cv2.imdecode(array, cv2.IMREAD_UNCHANGED)

        def bare(data: bytes = data, kind: str = kind) -> None:
            opencv() if kind == "png" else decode_jpeg(data)

        times: dict[str, list[float]] = {"check": [], "with check": [], "OpenCV": []}
        for _ in range(repeats):
            for name, run in (("check", lambda: check(data)), ("with check", bare), ("OpenCV", opencv)):  # noqa: B023
                start = time.perf_counter()
                run()
                times[name].append((time.perf_counter() - start) * 1e3)
        median = {name: float(np.median(each)) for name, each in times.items()}
        decoding = median["with check"] - (0 if kind == "png" else median["check"])
        found[f"{kind}, {color}"] = {
            "bytes": len(data),
            "ms": {
                name: [round(float(np.percentile(each, p)), 3) for p in (50, 99)]
                for name, each in times.items()
            },
            "check to decoding": round(median["check"] / decoding, 4),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--trials", type=int, default=500, help="damaged pictures of each kind (default %(default)s)"
    )
    parser.add_argument(
        "--films", type=int, default=30, help="films that lose packets, of each codec (default %(default)s)"
    )
    parser.add_argument(
        "--repeats", type=int, default=40, help="how often each check is timed (default %(default)s)"
    )
    asked = parser.parse_args()
    logging.disable()
    cv2.utils.logging.setLogLevel(0)
    cv2.setNumThreads(1)
    figures = {
        "processor": processor.name(),
        "cost at 2448x2048": cost(asked.repeats),
        "pictures": pictures(asked.trials),
        "a part of an MJPEG stream": mjpeg(asked.trials),
        "verdicts": verdicts(asked.trials // 5),
        "bit flips": bit_flips(asked.trials),
        "lost packets": lost_packets(asked.films),
    }
    json.dump(figures, sys.stdout)
    print()


if __name__ == "__main__":
    main()
