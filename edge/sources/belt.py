"""Shows what one camera of a simulated belt sees: rendered boards, and the empty belt between them."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from .. import recipe
from ..belt.boards import Shown, triggers
from ..belt.motion import Motion
from ..errors import SourceEnded, SourceError
from ..render.board import design
from .base import EarlierPicture, Trigger, deliver
from .synthetic import render

#: Grey level of the empty belt, which has next to no contrast.
EMPTY = 40


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Where a camera of a simulated belt stands, how the belt moves, and when the line was started."""

    camera: str
    number: int = 0  # of the camera, counted from 0
    at: int = 0  # behind the first camera, in nanoseconds or ticks
    start_ns: int
    motion: Motion | None = None  # None: the belt runs evenly, and positions are nanoseconds

    @property
    def unit(self) -> int:
        """The number of positions in a millisecond, or in a tick."""
        return 1_000_000 if self.motion is None else 1

    def reach_ns(self, position: int) -> int:
        """Return when the belt is `position` further than at the start, in ns of the monotonic clock."""
        if self.motion is None:
            return self.start_ns + position
        return self.motion.reach_ns(self.motion.position(self.start_ns) + position)


class BeltSource:
    """A camera at a simulated belt. Boards pass by the clock, seen or not, and its triggers are counted.

    If `shown` holds pictures that became parts before a restart, the triggers that have passed since are not
    shown any more; the last trigger of all always is.
    """

    def __init__(
        self, section: recipe.SimulatedBelt, scene: Scene, shown: Sequence[EarlierPicture] = ()
    ) -> None:
        self._section, self._scene = section, scene
        self._seen = max((picture.count for picture in shown), default=0)
        self._truth: TextIO | None = None

    def __enter__(self) -> BeltSource:
        section, scene = self._section, self._scene
        self._designs = [design(number, section.height, section.width) for number in range(section.views)]
        self._rendered: tuple[int, NDArray[np.uint8], list[tuple[int, int, int, int, str]]] | None = None
        self._triggers = triggers(section, scene.number, scene.at, scene.unit)
        self._next: Shown | None = next(self._triggers, None)
        self._skip()
        if section.truth:
            try:
                self._truth = Path(section.truth).open("a" if self._seen else "w")
            except OSError as error:
                raise SourceError(
                    f"{section.truth}: cannot write truth of {scene.camera}: {error.strerror}: make its folder"
                ) from error
        return self

    def _skip(self) -> None:
        """Leave out the triggers that were shown before a restart, and those that have passed meanwhile."""
        if not self._seen:
            return
        now_ns = time.monotonic_ns()
        while self._next is not None:
            if self._next.count > self._seen and self._due_ns(self._next) > now_ns:
                return
            last, self._next = self._next, next(self._triggers, None)
            if self._next is None and last.count > self._seen:
                self._next = last
                return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._truth:
            self._truth.close()

    def _due_ns(self, shown: Shown) -> int:
        return self._scene.reach_ns(shown.position)

    def wait(self, timeout_s: float) -> Trigger | None:
        """Render what the next trigger shows, and return the trigger when it is due; None after `timeout_s`."""
        if (shown := self._next) is None:
            raise SourceEnded(f"all {self._section.parts} boards have passed {self._scene.camera}")
        due_ns, end_ns = self._due_ns(shown), time.monotonic_ns() + round(timeout_s * 1e9)
        view = self._designs[(shown.board - 1) % len(self._designs)].view
        self._frame, defects = self._picture(shown)
        if (ahead_ns := min(due_ns, end_ns) - time.monotonic_ns()) > 0:
            time.sleep(ahead_ns / 1e9)
        if due_ns > end_ns:
            return None
        self._shown, self._next = shown, next(self._triggers, None)
        late_ns = time.monotonic_ns() - due_ns
        name = "empty belt" if shown.kind == "empty" else f"board {shown.board}"
        self._tell(shown, due_ns, view, defects)
        return Trigger(view, due_ns, time.time_ns() - late_ns, name, count=shown.count)

    def _tell(
        self, shown: Shown, due_ns: int, view: str, defects: list[tuple[int, int, int, int, str]]
    ) -> None:
        """Write what the trigger shows into the file of the truth."""
        if self._truth:
            what = {
                "camera": self._scene.camera,
                "count": shown.count,
                "captured_ns": due_ns,
                "board": None if shown.kind == "empty" else shown.board,
                "kind": shown.kind,
                "view": view,
                "good": shown.kind != "empty" and not defects,
                "defects": defects,
            }
            print(json.dumps(what), file=self._truth, flush=True)

    def _picture(self, shown: Shown) -> tuple[NDArray[np.uint8], list[tuple[int, int, int, int, str]]]:
        """Return what the trigger shows, and the defects of the board."""
        if shown.kind == "empty":
            return np.full(self._section.shape, EMPTY, np.uint8), []
        if self._rendered is None or self._rendered[0] != shown.board:
            board = self._designs[(shown.board - 1) % len(self._designs)]
            self._rendered = (shown.board, *render(self._section, board, shown.board))
        return self._rendered[1:]

    def read(self, out: NDArray[np.uint8]) -> None:
        """Write the triggered picture into `out`, `(H, W)` or `(H, W, 3)` uint8; on failure raise PartError."""
        deliver(self._frame, out, f"trigger {self._shown.count} of {self._scene.camera}")
