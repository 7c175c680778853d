"""Shows the progress of a TensorRT build as nested bars, and ends the build after Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.progress import Progress, TaskID


def monitor_of(trt: Any, bars: Progress, stop_if_asked: Callable[[], None]) -> Any:
    """Return a progress monitor, an object to which a TensorRT builder reports each phase of the build.

    The monitor ends the build as soon as `stop_if_asked` raises KeyboardInterrupt. The builder calls the
    monitor from its own threads, so the monitor itself raises no error.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # the library has no types
        def __init__(self) -> None:
            # `super()` does not find the binding's constructor.
            trt.IProgressMonitor.__init__(self)
            # The bar of each phase, and how deep it is nested.
            self._phases: dict[str, tuple[TaskID, int]] = {}

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            depth = self._phases[parent][1] + 1 if parent in self._phases else 0
            self._phases[phase] = bars.add_task("  " * depth + phase, total=steps), depth

        def step_complete(self, phase: str, step: int) -> bool:
            if phase in self._phases:
                bars.update(self._phases[phase][0], completed=step + 1)
            try:
                stop_if_asked()
            except KeyboardInterrupt:
                return False
            return True

        def phase_finish(self, phase: str) -> None:
            bar, _ = self._phases.pop(phase, (None, 0))
            if bar is not None:
                bars.remove_task(bar)

    return Monitor()
