"""Runs the recorder process, which keeps pictures and black boxes as the recipe asks for them."""

from __future__ import annotations

import time
from functools import partial

import msgspec

from ...memory.follow import Follower
from ...memory.recorded import Recorded
from ...messages import Running
from ...recorder.box import Head, without_passwords
from ...recorder.frames import Frames
from ...recorder.recorder import Recorder
from ...recorder.writer import CLOSE_S, Writer
from ..plan import RUNNING
from ..start import end_in, outlive
from . import Run

#: How often the recorder looks for new frames: well within the time for which a part's slot is leased.
PERIOD_S = 0.005
#: For so long, a recorder without a supervisor waits for the verdicts that publish still gives.
LAST_NS = 1_000_000_000
#: Then it writes its last files. If it needs longer than this after the supervisor's end, the kernel ends it.
END_S = LAST_NS / 1e9 + CLOSE_S + 1.0


def run(run: Run) -> None:
    """Keep pictures and black boxes until the stop signal comes or the supervisor ends, which is a fault."""
    recipe, counts = run.plan.recipe, Recorded.open(run.folder)
    assert recipe.recorder is not None
    frames = {
        camera.name: Frames(run.ledgers[camera.name], run.rings[camera.name], camera.source.shape)
        for camera in recipe.cameras
    }
    with Writer(recipe.recorder, recipe.line, counts) as writer:
        recorder = Recorder(
            recipe.recorder,
            Follower(run.ledgers, max(ledger.last_number for ledger in run.ledgers.values())),
            frames,
            run.stages,
            writer,
            counts,
            partial(_head, run),
        )
        end_in(END_S)
        outlive()
        run.liveness.ready()
        while not run.liveness.stopping:
            end_in(END_S)
            run.liveness.beat()
            recorder.step(time.monotonic_ns(), time.time_ns())
            time.sleep(PERIOD_S)
        if run.liveness.is_orphan:
            recorder.failed("supervisor", time.monotonic_ns())
            _await_last(run, recorder)
        recorder.step(time.monotonic_ns(), time.time_ns(), ending=True)


def _await_last(run: Run, recorder: Recorder) -> None:
    end_ns = time.monotonic_ns() + LAST_NS
    while time.monotonic_ns() < end_ns and any(ledger.waiting for ledger in run.ledgers.values()):
        recorder.step(time.monotonic_ns(), time.time_ns())
        time.sleep(PERIOD_S)


def _head(run: Run, why: str, written_at: str) -> Head:
    plan = run.plan
    try:
        running = msgspec.json.decode((run.folder / RUNNING).read_bytes(), type=Running)
    except OSError:
        running = None  # infer has never been ready
    return Head(
        line=plan.recipe.line,
        run=run.stages.run.hex(),
        why=why,
        written_at=written_at,
        recipe_digest=plan.recipe_digest,
        bundle_digest=plan.bundle_digest,
        pictures=plan.pictures,
        running=running,
        recipe=without_passwords(plan.recipe),
    )
