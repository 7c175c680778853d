"""Times one hop between two processes, by a slot of the ring and its descriptor and by imagezmq, in one run.

A sender process has a frame ready in memory 60 times a second, and a receiver process reads it. Latency is from
the frame being ready to its pixels being readable by the receiver; CPU is the user and system time of both
processes a frame. Ends with one line of JSON, whose ratios are imagezmq's better pattern divided by ours. Needs
`pip install '.[bench]'`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from edge.errors import SlotOverwritten
from edge.memory.ledger import Ledger
from edge.memory.ring import Ring, as_image
from edge.messages import Frame, Part
from edge.stages.sockets import Sockets
from edge.wire import RUN_BYTES, unpack

WARM_UP = 30
RUN = bytes(RUN_BYTES)
SLOTS = 8
WAYS = ("ring", "imagezmq_pub", "imagezmq_req")

Image = np.ndarray[Any, np.dtype[np.uint8]]


def ring_send(folder: Path, shape: tuple[int, ...], ticks: Iterator[int]) -> None:
    """Send descriptors; the camera writes into the slot, so the frame is ready there."""
    ring = Ring.open(folder / "ring")
    with Sockets(folder, RUN) as sockets:
        send = sockets.to("receiver")
        for entry in ticks:
            slot, generation = ring.lease(entry, published=max(0, entry - SLOTS + 1))
            part = _part(entry, slot, generation)
            with ring.area(part, "frame") as area:
                _stamp(as_image(area, shape), entry)
                send(Frame(part=part, shape=shape, done_ns={}))


def ring_receive(folder: Path, shape: tuple[int, ...], seen: Callable[[Image], bool]) -> None:
    ring = Ring.open(folder / "ring")
    with Sockets(folder, RUN) as sockets:
        inbox = sockets.inbox("receiver")
        more = True
        while more:
            message = unpack(inbox.recv(), RUN)
            # Frames sent before this side listened are overwritten by now; they count as lost.
            with suppress(SlotOverwritten), ring.area(message.part, "frame") as area:
                more = seen(as_image(area, shape))


def imagezmq_send(folder: Path, shape: tuple[int, ...], ticks: Iterator[int], *, req: bool) -> None:
    import imagezmq

    sender = imagezmq.ImageSender(connect_to=f"ipc://{folder}/images.ipc", REQ_REP=req)
    image = np.zeros(shape, np.uint8)
    for entry in ticks:
        _stamp(image, entry)
        sender.send_image("camera", image)
    sender.close()


def imagezmq_receive(folder: Path, seen: Callable[[Image], bool], *, req: bool) -> None:
    import imagezmq

    hub = imagezmq.ImageHub(open_port=f"ipc://{folder}/images.ipc", REQ_REP=req)
    more = True
    while more:
        _, image = hub.recv_image()
        more = seen(image)
        if req:
            hub.send_reply(b"OK")
    hub.close()


def _stamp(image: Image, entry: int) -> None:
    """Write the frame's number and the time at which it is ready into its first pixels."""
    image.reshape(-1)[:16].view(np.int64)[:] = entry, time.monotonic_ns()


def _part(entry: int, slot: int, generation: int) -> Part:
    return Part(
        entry=entry,
        epoch=1,
        sequence=entry + 1,
        camera="camera",
        view="view",
        captured_ns=0,
        source_ref="",
        skipped=0,
        captured_at_ns=0,
        deadline_ns=0,
        slot=slot,
        generation=generation,
    )


def _ticks(folder: Path, fps: float) -> Iterator[int]:
    """Yield frame numbers at absolute deadlines until the receiver has got enough."""
    start = time.monotonic()
    for entry in count():
        if (folder / "done").exists():
            return
        time.sleep(max(0.0, start + entry / fps - time.monotonic()))
        yield entry


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def run_role(way: str, role: str, folder: Path, shape: tuple[int, ...], frames: int, fps: float) -> None:
    """Run one side of one way; print what it measured as JSON."""
    entries: list[int] = []
    latencies_us: list[float] = []
    cpu_start = 0.0

    def counted(entry: int) -> None:
        nonlocal cpu_start
        entries.append(entry)
        if len(entries) == WARM_UP:
            cpu_start = _cpu_s()

    def seen(image: Image) -> bool:
        entry, ready_ns = image.reshape(-1)[:16].view(np.int64)
        latencies_us.append((time.monotonic_ns() - ready_ns) / 1000)
        counted(int(entry))
        if len(entries) == frames:
            (folder / "done").touch()
        return len(entries) < frames

    def ticks() -> Iterator[int]:
        for entry in _ticks(folder, fps):
            counted(entry)
            yield entry

    if role == "send" and way == "ring":
        ring_send(folder, shape, ticks())
    elif role == "send":
        imagezmq_send(folder, shape, ticks(), req=way == "imagezmq_req")
    elif way == "ring":
        ring_receive(folder, shape, seen)
    else:
        imagezmq_receive(folder, seen, req=way == "imagezmq_req")
    said = {
        "cpu_us": (_cpu_s() - cpu_start) * 1e6 / (len(entries) - WARM_UP),
        "latencies_us": latencies_us[WARM_UP:],
        "lost": entries[-1] - entries[WARM_UP] - len(entries) + 1 + WARM_UP,
    }
    print(json.dumps(said))


def measure(way: str, shape: tuple[int, ...], frames: int, fps: float) -> dict[str, float]:
    """Run both sides of one way; return latency (p50, p99) and CPU a frame, in microseconds."""
    with tempfile.TemporaryDirectory(prefix="hop-", dir="/dev/shm") as name:
        folder = Path(name)
        Ring.create(folder / "ring", slots=SLOTS, frame=int(np.prod(shape)), tensors=[8], outputs=[8])
        Ledger.create(folder / "ledger")

        def start(role: str) -> subprocess.Popen[str]:
            size = [str(n) for n in shape]
            command = [
                sys.executable,
                __file__,
                "--role",
                role,
                "--way",
                way,
                "--folder",
                name,
                "--size",
                *size,
            ]
            command += ["--frames", str(frames), "--fps", str(fps)]
            return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

        processes = [start(role) for role in ("receive", "send")]
        received, sent = (json.loads(process.communicate(timeout=300)[0]) for process in processes)
    latencies = received["latencies_us"]
    return {
        "p50_us": round(float(np.percentile(latencies, 50)), 1),
        "p99_us": round(float(np.percentile(latencies, 99)), 1),
        "cpu_us": round(sent["cpu_us"] + received["cpu_us"], 1),
        "lost": received["lost"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--size",
        type=int,
        nargs=3,
        default=(2048, 2448, 3),
        metavar=("H", "W", "C"),
        help="height, width and channels of a frame, in pixels",
    )
    parser.add_argument("--fps", type=float, default=60.0, help="frames sent a second (default %(default)s)")
    parser.add_argument("--frames", type=int, default=600, help="frames to send each way (default %(default)s)")
    parser.add_argument("--role", choices=("send", "receive"), help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    shape = tuple(given.size)
    if given.role:
        run_role(given.way, given.role, given.folder, shape, given.frames, given.fps)
        return
    found = {way: measure(way, shape, given.frames, given.fps) for way in WAYS}
    ours, theirs = found["ring"], [found["imagezmq_pub"], found["imagezmq_req"]]
    print(
        json.dumps(
            {
                "size": shape,
                "fps": given.fps,
                "frames": given.frames,
                **found,
                "latency_ratio": round(min(way["p50_us"] for way in theirs) / ours["p50_us"], 2),
                "latency_p99_ratio": round(min(way["p99_us"] for way in theirs) / ours["p99_us"], 2),
                "cpu_ratio": round(min(way["cpu_us"] for way in theirs) / ours["cpu_us"], 2),
            }
        )
    )


if __name__ == "__main__":
    main()
