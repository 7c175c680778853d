"""Writes pictures and black boxes on a thread of its own, which runs when no other work needs the core."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..memory.recorded import Recorded
from ..pictures.png_text import with_text
from ..recipe import Recorder
from .box import Head, png_of, write_box
from .choose import PASS_END, picture_name
from .kept import Kept
from .retention import Limits
from .shelf import Shelf, day_and_time

#: The keyword of the text in a picture's file: the verdict's JSON.
VERDICT = "verdict"
#: A writer that ends keeps on writing for this time.
CLOSE_S = 3.0
#: After this time without work, it looks for files that are too old, and whether a full disk has room again.
IDLE_S = 0.5
_DAY_NS, _MB = 86_400_000_000_000, 2**20


class Writer:
    """Writes what is given to it, one after another. `with` starts it; its end writes what is left.

    What waits takes at most as much memory as the black box. What does not fit is counted as `busy`.
    """

    def __init__(self, choice: Recorder, line: str, counts: Recorded) -> None:
        folder, reserve = Path(choice.folder) / line, choice.reserve_mb * _MB
        age_ns, sample_age_ns = choice.days * _DAY_NS, choice.passes_days * _DAY_NS

        def limits(megabytes: int) -> Limits:
            return Limits(nbytes=megabytes * _MB, age_ns=age_ns, sample_age_ns=sample_age_ns)

        self._pictures = Shelf(
            folder / "pictures", limits(choice.pictures_mb), reserve, lambda name: name.endswith(PASS_END)
        )
        self._boxes = Shelf(folder / "boxes", limits(choice.box.disk_mb), reserve)
        self._counts = counts
        self._most_bytes = choice.box.memory_mb * _MB
        self._waiting: queue.SimpleQueue[tuple[int, Callable[[], None]]] = queue.SimpleQueue()
        self._offered = self._done = 0  # bytes; each is counted by one thread
        self._closing = threading.Event()

    def __enter__(self) -> Writer:
        for shelf in (self._pictures, self._boxes):
            shelf.open()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.set()
        self._waiting.put((0, lambda: None))
        self._thread.join(CLOSE_S)

    def picture(self, kept: Kept) -> None:
        """Write a picture of each frame of a part."""
        for look in kept.looks:
            if (frame := look.frame) is None:
                continue
            name = picture_name(kept.verdict, look.part.camera)

            def write(path: Path, kept: Kept = kept, frame: NDArray[np.uint8] = frame) -> None:
                path.write_bytes(with_text(png_of(frame), VERDICT, kept.body))

            self._offer("pictures", self._pictures, name, frame.nbytes, write)

    def box(self, head: Head, parts: Sequence[Kept], now_ns: int) -> None:
        """Write a black box. `now_ns` is the time of the wall clock."""
        nbytes = sum(kept.nbytes for kept in parts)
        name = f"{day_and_time(now_ns)}_{head.why}.zip"
        self._offer("boxes", self._boxes, name, nbytes, lambda path: write_box(path, head, parts))

    def _offer(self, kind: str, shelf: Shelf, name: str, nbytes: int, write: Callable[[Path], None]) -> None:
        waiting = self._offered - self._done
        if waiting and waiting + nbytes > self._most_bytes:
            self._counts["busy"] += 1
            return

        def work() -> None:
            self._counts[kind if shelf.put(name, nbytes, write) else "full"] += 1

        self._offered += nbytes
        self._waiting.put((nbytes, work))

    def _run(self) -> None:
        # On Linux, 0 is the calling thread.
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        while True:
            try:
                nbytes, work = self._waiting.get(timeout=IDLE_S)
            except queue.Empty:
                for shelf in (self._pictures, self._boxes):
                    shelf.look_again()
            else:
                work()
                self._done += nbytes
                if self._closing.is_set() and self._waiting.empty():
                    return
            for shelf in (self._pictures, self._boxes):
                shelf.tidy(time.time_ns())
            self._counts["is_full"] = int(self._pictures.is_full or self._boxes.is_full)
