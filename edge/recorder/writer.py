"""Writes pictures and black boxes on a thread of its own, which gives way to the line's other work."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..memory.recorded import Recorded
from ..pictures.png_text import with_text
from ..recipe import Recorder
from .box import GivenUp, Head, png_of, write_box
from .kept import Kept
from .names import box_kind, box_name, picture_kind, picture_name
from .retention import Limits
from .shelf import Shelf

#: The keyword of the text in a picture's file: the verdict's JSON.
VERDICT = "verdict"
#: A writer that ends keeps on writing for this time. Then it gives up what is left, after the frame in work.
CLOSE_S = 3.0
#: The thread's nice value. With SCHED_IDLE, it could be kept off a core while it holds Python's lock, and with
#: it the thread that copies the frames.
NICE = 10
#: After this time without work, it looks for files that are too old, and whether a full disk has room again.
IDLE_S = 0.5
_MB = 2**20


class Writer:
    """Writes what is given to it, one after another. `with` starts it; its end writes what is left.

    Pictures that wait take at most as much memory as the black box, and one black box may wait. What does not
    fit is counted as `busy`.
    """

    def __init__(self, choice: Recorder, line: str, counts: Recorded) -> None:
        folder, reserve = Path(choice.folder) / line, choice.reserve_mb * _MB

        def limits(megabytes: int) -> Limits:
            return Limits(nbytes=megabytes * _MB, days=choice.days, sample_days=choice.passes_days)

        self._pictures = Shelf(folder / "pictures", limits(choice.pictures_mb), reserve, picture_kind)
        self._boxes = Shelf(folder / "boxes", limits(choice.box.disk_mb), reserve, box_kind)
        self._shelves = (self._pictures, self._boxes)
        self._counts = counts
        self._most_bytes = choice.box.memory_mb * _MB
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        # Bytes of pictures, and number of boxes. One thread counts what is given, the other what is written.
        self._given, self._written = [0, 0], [0, 0]
        self._closing, self._giving_up = threading.Event(), threading.Event()
        self._error: BaseException | None = None

    def __enter__(self) -> Writer:
        with ExitStack() as opened:
            for shelf in self._shelves:
                opened.enter_context(shelf)
            self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
            self._thread.start()
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.set()
        self._work.put(lambda: None)
        self._thread.join(CLOSE_S)
        # A process must not end while the thread is inside OpenCV, which would abort.
        self._giving_up.set()
        self._thread.join()
        self._opened.close()

    def picture(self, kept: Kept) -> None:
        """Write a picture of each frame of a part. Raise the error that ended the thread, if one did."""
        self._check()
        for look in kept.looks:
            if (frame := look.frame) is None:
                continue
            waiting = self._given[0] - self._written[0]
            if waiting and waiting + frame.nbytes > self._most_bytes:
                self._counts["busy"] += 1
                continue
            self._given[0] += frame.nbytes
            self._work.put(partial(self._write_picture, kept, look.part.camera, frame))

    def _check(self) -> None:
        # A disk that cannot be written ends nothing.
        if self._error:
            raise self._error

    def _write_picture(self, kept: Kept, camera: str, frame: NDArray[np.uint8]) -> None:
        def write(path: Path) -> None:
            path.write_bytes(with_text(png_of(frame), VERDICT, kept.body))

        is_there = self._pictures.put(picture_name(kept.verdict, camera), frame.nbytes, write)
        self._counts["pictures" if is_there else "full"] += 1
        self._written[0] += frame.nbytes

    def box(self, head: Head, parts: Sequence[Kept], now_ns: int) -> None:
        """Write a black box, like `picture`. `now_ns` is the time of the wall clock."""
        self._check()
        if self._given[1] - self._written[1] > 1:
            self._counts["busy"] += 1
            return
        self._given[1] += 1
        self._work.put(partial(self._write_box, head, parts, now_ns))

    def _write_box(self, head: Head, parts: Sequence[Kept], now_ns: int) -> None:
        is_there = self._boxes.put(
            box_name(now_ns, parts[-1].number, head.why),
            sum(kept.nbytes for kept in parts),
            lambda path: write_box(path, head, parts, self._giving_up.is_set),
        )
        self._counts["boxes" if is_there else "full"] += 1
        self._written[1] += 1

    def _run(self) -> None:
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
            self._write_all()
        except GivenUp:
            return
        except BaseException as error:
            self._error = error

    def _write_all(self) -> None:
        while not self._giving_up.is_set():
            # Files are counted between two pictures.
            wait_s = 0.0 if any(shelf.is_counting for shelf in self._shelves) else IDLE_S
            try:
                self._work.get(timeout=wait_s)()
            except queue.Empty:
                if wait_s:
                    for shelf in self._shelves:
                        shelf.look_again()
            if self._closing.is_set() and self._work.empty():
                return
            for shelf in self._shelves:
                shelf.tidy(time.time_ns())
            self._counts["is_full"] = int(any(shelf.is_full for shelf in self._shelves))
