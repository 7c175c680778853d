"""Counts the frames of video files with lost packets: which are shown, unknown, or shown though damaged."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from coded_boards import Image, board

from edge import recipe
from edge.errors import PartError, SourceEnded
from edge.sources import open_source


def film(path: Path, codec: str, between: int, lost: set[int]) -> None:
    """Write a video file of 60 frames of a moving board, without the packets in `lost`."""
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
    """Yield the frames `(256, 256, 3)` that the line reads from a file; None for one that it refuses."""
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
    """Return for each codec how many frames are unknown, shown, or shown though not in the whole file."""
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
