"""Makes a challenge test of a running line, and writes its report into the line's state folder."""

from __future__ import annotations

import hashlib
import importlib.metadata
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from ..errors import LineError
from ..line.ask import ask
from ..line.plan import Plan, read_plan
from ..line.run_folder import base_folder
from ..messages import utc
from ..recipe import Camera
from .belt import Ear
from .compare import Outcome, run_steps
from .folder import cameras_of, folder_line
from .orders import DAMAGES, FAULTS, PULLED, Order, Step, instruction, steps_of
from .report import Report, write_report
from .signing import read_key

#: How long the line waits for the next part of a test before it takes the test as given up.
GRACE_S = 30.0


class Wish(Struct, frozen=True, kw_only=True):
    """What a person asked for. Without folders, the parts are those that come next on the belt."""

    line: str
    by: str
    orders: tuple[Order, ...]
    repeats: int
    patience_s: float
    good: str = ""
    bad: str = ""
    camera: str = ""
    key: Path | None = None  # default: challenge.key in the state folder


class _Status(Struct, frozen=True):
    """What the test needs of the answer to `status`."""

    state_folder: str
    recipe: str
    bundle: str
    run: str
    engine: dict[str, object] | None = None


def run_test(
    wish: Wish, say: Callable[[int, int, str], None], tell: Callable[[Outcome], None]
) -> tuple[Report, Path]:
    """Make the test, and return its report and where that is.

    Before each part of a test on the belt, calls `say` with its number, the number of all parts, and what a
    person has to do. Calls `tell` with each part that was tested. Raise LineError if the line does not run or
    is held by a person, and ReportError if no report can be signed or written; both come before the first part.
    """
    status = msgspec.convert(ask(wish.line, "status"), _Status)
    if status.engine is None:
        raise LineError(f"line {wish.line!r} is starting: test it when it judges")
    state = Path(status.state_folder)
    key = read_key(wish.key or state / "challenge.key")
    plan = read_plan(_run_folder(wish.line))
    cameras = cameras_of(plan.recipe, wish.camera) if wish.good else ()
    due = str(_go_on(wish)["due_at"])
    started_at = utc(time.time_ns())
    tested, faults = _in_folder(wish, plan, cameras, tell) if wish.good else _on_belt(wish, say, tell)
    after = msgspec.convert(ask(wish.line, "status"), _Status)
    if (after.run, after.recipe, after.bundle) != (status.run, status.recipe, status.bundle):
        faults.append("the line was restarted during the test")
    report = Report(
        line=wish.line,
        how="folder" if wish.good else "belt",
        by=wish.by,
        started_at=started_at,
        ended_at=utc(time.time_ns()),
        recipe=status.recipe,
        bundle=status.bundle,
        engine=str(status.engine["engine"]),
        precision=str(status.engine["precision"]),
        software=importlib.metadata.version("linejudge"),
        due_at=due,
        cameras=tuple(camera.name for camera in cameras),
        orders=wish.orders,
        tested=tuple(tested),
        faults=tuple(faults),
    )
    path = write_report(report, key, state / f"{wish.line}.challenges")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    ask(
        wish.line,
        "tested",
        passed=report.passed,
        how=report.how,
        by=report.by,
        report=path.name,
        sha256=digest,
    )
    return report, path


def _in_folder(
    wish: Wish, plan: Plan, cameras: Sequence[Camera], tell: Callable[[Outcome], None]
) -> tuple[list[Outcome], list[str]]:
    steps = steps_of(wish.orders, wish.repeats, DAMAGES)
    if len(cameras) > 1:
        names = [camera.name for camera in cameras]
        steps = steps_of(wish.orders, wish.repeats, (*DAMAGES, PULLED), names)
    with folder_line(plan, wish.good, wish.bad, cameras) as (pictures, hear):
        return run_steps(steps, pictures.present, hear, tell, wish.patience_s)


def _on_belt(
    wish: Wish, say: Callable[[int, int, str], None], tell: Callable[[Outcome], None]
) -> tuple[list[Outcome], list[str]]:
    steps = steps_of(wish.orders, wish.repeats, tuple(FAULTS))
    numbers = iter(range(1, len(steps) + 1))

    def present(step: Step, before: Step | None) -> tuple[str, ...]:
        _go_on(wish)
        say(next(numbers), len(steps), instruction(step, before))
        return ()

    with Ear(_run_folder(wish.line)) as ear:
        return run_steps(steps, present, ear.hear, tell, wish.patience_s)


def _go_on(wish: Wish) -> dict[str, Any]:
    """Tell the line that the test goes on."""
    return ask(wish.line, "testing", how="folder" if wish.good else "belt", for_s=wish.patience_s + GRACE_S)


def _run_folder(line: str) -> Path:
    folder = base_folder() / line
    try:
        return folder / (folder / "run").read_text()
    except OSError as error:
        raise LineError(f"{folder}: line {line!r} does not run any more") from error
