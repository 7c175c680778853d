"""Films in which every frame differs from the one before, whole or with packets missing or changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH, FRAMES, KEY_EVERY = 48, 64, 24, 8
#: With the MD5 of each picture, which H.265 needs for its damage to be seen.
_X265 = f"log-level=none:keyint={KEY_EVERY}:min-keyint={KEY_EVERY}:open-gop=0:scenecut=0:hash=1"
Spoil = Callable[[int, bytes], bytes | None]


def scene(number: int) -> NDArray[np.uint8]:
    """A grey pattern that moves, `(H, W, 3)`."""
    blocks = np.random.default_rng(0).integers(20, 235, (HEIGHT // 4, WIDTH // 4, 1), np.uint8)
    return np.ascontiguousarray(np.roll(np.kron(blocks, np.ones((4, 4, 3), np.uint8)), 3 * number, axis=1))


def write(
    path: Path, codec: str, spoil: Spoil = lambda _, data: data, between: int = 0, form: str = ""
) -> Path:
    """Write a film with so many B-frames at a time; of three, some are made of pictures across a key frame.

    `spoil` turns each packet, by its number, into what is written of it, if anything.
    """
    options = {
        "libx264": {"preset": "fast", "x264-params": f"open-gop={int(between > 2)}"},
        "libx265": {"x265-params": f"{_X265}:bframes={between}"},
    }
    container_options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=container_options) as container:
        stream = container.add_stream(codec, rate=25, options=options.get(codec, {}))
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = form or ("yuvj420p" if codec == "mjpeg" else "yuv420p")
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = KEY_EVERY, between
        count = 0
        for number in range(FRAMES + 1):
            frame = av.VideoFrame.from_ndarray(scene(number), "bgr24") if number < FRAMES else None
            for packet in stream.encode(frame):
                if (left := spoil(count, bytes(packet))) is not None:
                    written = av.Packet(left)
                    written.pts, written.dts, written.time_base = packet.pts, packet.dts, packet.time_base
                    written.is_keyframe, written.stream = packet.is_keyframe, stream
                    container.mux(written)
                count += 1
    return path
