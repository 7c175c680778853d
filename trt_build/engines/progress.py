"""A TensorRT build as bars of progress, each phase within its parent, and Ctrl-C as its end at a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.progress import Progress, TaskID


def monitor_of(trt: Any, bars: Progress, stop_if_asked: Callable[[], None]) -> Any:
    """What a builder's `progress_monitor` takes; the builder gives up where `stop_if_asked` raises.

    A builder calls it from threads of its own, to which it may not raise.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # the library has no types
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)  # the binding's own, which `super()` does not find
            self._phases: dict[str, tuple[TaskID, int]] = {}  # name -> bar, how deep

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
