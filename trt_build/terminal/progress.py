"""Shows the progress of long work: as bars on a terminal, elsewhere as a line of text every 30 seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, TypeVar

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from trt_build.terminal.console import console

#: Seconds between two lines.
EVERY_S = 30.0
T = TypeVar("T")


def counted(things: Iterable[T], what: str, total: int | None = None, *, unit: str = "picture") -> Iterator[T]:
    """Yield the things, and show how many are done. Give `total` if the things have no length.

    `what` names the work on the screen, and `unit` names one thing.
    """
    if total is None and isinstance(things, Sized):
        total = len(things)
    with working(what, total, unit=unit) as tell:
        for thing in things:
            yield thing
            tell(advance=1)


@contextmanager
def working(
    what: str, total: int | None = None, *, done: int = 0, unit: str = "picture"
) -> Iterator[Callable[..., None]]:
    """Show a piece of work, named `what`, while the `with` block runs. Yield a function to report progress.

    Call the function with `advance` or `completed`, both in units, or with `where`, a text that is shown
    instead of the count. If `total` is None, you need not call it: a thread shows the time so far.
    """
    with bars() as shown:
        task = shown.add_task(what, total=total, completed=done, unit=unit, begun=done)
        try:
            with _ticking(shown) if total is None else nullcontext():
                yield partial(shown.update, task)
        finally:
            shown.remove_task(task)


@contextmanager
def bars() -> Iterator[Bars]:
    """Yield the bars that are shown already, or new ones: a terminal can show only one set of bars."""
    if _SHOWN:
        yield _SHOWN[0]
        return
    with Bars() as new:
        _SHOWN.append(new)
        try:
            yield new
        finally:
            _SHOWN.remove(new)


class Bars(Progress):
    """Shows a bar for each piece of work. Without a terminal, it prints lines about the latest piece."""

    def __init__(self) -> None:
        super().__init__(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            _HowFar(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._told_at = time.monotonic()

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Update a bar as `Progress.update` does. Without a terminal, print a line every EVERY_S seconds."""
        super().update(task_id, **changes)
        self.tell()

    def tell(self) -> None:
        """Without a terminal, print a line if EVERY_S seconds have passed since the last line."""
        with self._lock:
            if self.disable and self.tasks and self.due_in_s() <= 0:
                self._told_at = time.monotonic()
                console.print(line(self.tasks[-1]))

    def due_in_s(self) -> float:
        """Return in how many seconds the next line is to be printed."""
        return self._told_at + EVERY_S - time.monotonic()


def line(task: Task) -> str:
    """Return a line with the work's name, progress, rate and remaining time, as far as they are known."""
    said = [how_far(task)]
    done = task.completed - task.fields.get("begun", 0)
    if done > 0 and task.elapsed:
        rate = done / task.elapsed
        said.append(f"{rate:.1f}" if rate >= 1 else f"{rate:.2g}")
        said[-1] += f" {_unit(task)}s a second"
        if task.total is not None:
            said.append(f"{_duration((task.total - task.completed) / rate)} left")
    return f"{task.description.strip()}: {', '.join(said)}"


def how_far(task: Task) -> str:
    """Return the progress: the text `where` if set, or a count, or the time so far if nothing is counted."""
    if where := task.fields.get("where"):
        return str(where)
    if task.total is not None:
        return f"{_unit(task)} {task.completed:.0f} of {task.total:.0f}"
    return f"{_unit(task)} {task.completed:.0f}" if task.completed else f"{_duration(task.elapsed or 0)} so far"


class _HowFar(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(how_far(task))


#: The bars that are shown now, one set at most.
_SHOWN: list[Bars] = []


@contextmanager
def _ticking(shown: Bars) -> Iterator[None]:
    """Print lines at the right times during the block, even while a step of the work takes long."""
    ended = threading.Event()

    def tick() -> None:
        while not ended.wait(max(shown.due_in_s(), 0)):
            shown.tell()

    thread = threading.Thread(target=tick, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _unit(task: Task) -> str:
    return str(task.fields.get("unit", "step"))


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
