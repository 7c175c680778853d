"""The process of one stage: puts it together from the line's plan and runs it.

Started as `python -m edge.stages FOLDER STAGE` by the supervisor, never by hand.
"""

from __future__ import annotations

import logging
import sys
from contextlib import ExitStack
from pathlib import Path

import msgspec

from .bundle import Bundle, read_bundle
from .capture import Capture, run_capture
from .cores import engine_cores, leave_to_engine
from .decide import Rule
from .engines import open_engine
from .errors import EdgeError, LineError, RecipeError
from .golden import check_golden
from .infer import Infer, References
from .ledger import Ledger
from .masters import known_views, masters_of
from .plan import VERDICTS, Plan, Running
from .preprocess import Preparer, PreprocessStep
from .publish import Identity, Publisher, run_publish
from .recipe import Recipe
from .ring import Ring
from .sources import open_source
from .stage import Life, Wires, hurry, relay

PRIORITY = {"publish": 20, "capture": 10, "preprocess": 5, "infer": 5}  # of what has to be prompt


def run_stage(folder: Path, stage: str) -> None:
    """Run one stage until it is told to stop or, for capture, until the source ends."""
    plan = msgspec.json.decode((folder / "plan.json").read_bytes(), type=Plan)
    if stage != "infer":  # whose engine comes first
        hurry(PRIORITY[stage])
        leave_to_engine(plan.recipe.engine.threads)
    ledger, ring = Ledger.open(folder / "ledger"), Ring.open(folder / "ring")
    with Life(ledger, stage) as life, Wires(folder) as wires:
        _RUN[stage](plan, folder, life, wires, ledger, ring)


def _capture(plan: Plan, folder: Path, life: Life, wires: Wires, ledger: Ledger, ring: Ring) -> None:
    source = plan.recipe.source
    capture = Capture(
        ring,
        ledger,
        camera=source.camera,
        shape=source.shape,
        deadline_ns=round(plan.recipe.timing.deadline_ms * 1e6),
    )
    run_capture(life, open_source(source), capture, ledger, wires.to("preprocess"), wires.to("publish"))


def _preprocess(plan: Plan, folder: Path, life: Life, wires: Wires, ledger: Ledger, ring: Ring) -> None:
    bundle = _bundle(plan)
    masters = masters_of(plan.recipe, bundle)
    if masters is not None:
        for view in known_views(plan.recipe, bundle):
            masters.get(view)  # one that does not fit is said before the line is armed
    preparer = Preparer(plan.recipe.preprocess, bundle.manifest.input, masters)
    inbox = wires.inbox("preprocess")
    life.ready()
    step = PreprocessStep(ring, preparer, bundle.manifest.input)
    relay("preprocess", life, inbox, wires.to("infer"), wires.to("publish"), step, _guard_ns(plan))


def _infer(plan: Plan, folder: Path, life: Life, wires: Wires, ledger: Ledger, ring: Ring) -> None:
    bundle = _bundle(plan)
    masters = masters_of(plan.recipe, bundle)
    with ExitStack() as opened:
        with engine_cores(plan.recipe.engine.threads):
            engine = opened.enter_context(open_engine(plan.recipe.engine, bundle))
            check_golden(engine, bundle)
            references = None
            if masters is not None:
                limit_bytes = plan.recipe.engine.reference_mb * 2**20
                references = References(engine, lambda view: masters.get(view).input, limit_bytes)
                references.warm(known_views(plan.recipe, bundle))
        hurry(PRIORITY["infer"])
        leave_to_engine(plan.recipe.engine.threads)
        running = Running(engine=engine.name, precision=engine.precision)
        (folder / "engine.json").write_bytes(msgspec.json.encode(running))
        inbox = wires.inbox("infer")
        life.ready()
        step = Infer(ring, engine, references)
        relay("infer", life, inbox, wires.to("publish"), wires.to("publish"), step, _guard_ns(plan))


def _publish(plan: Plan, folder: Path, life: Life, wires: Wires, ledger: Ledger, ring: Ring) -> None:
    recipe, bundle = plan.recipe, _bundle(plan)
    publisher = Publisher(
        ring,
        ledger,
        rule_of(recipe, bundle),
        Identity(
            line=recipe.line,
            recipe=plan.recipe_digest,
            bundle=plan.bundle_digest,
            accepted=frozenset(reason for reason, action in recipe.rule.unknown.items() if action == "accept"),
        ),
        guard_ns=_guard_ns(plan),
    )
    inbox = wires.inbox("publish")
    socket = wires.publisher((*recipe.publish.endpoints, f"ipc://{folder}/{VERDICTS}.ipc"))
    run_publish(life, publisher, inbox, socket, recipe.publish.heartbeat_ms * 1_000_000)


_RUN = {"capture": _capture, "preprocess": _preprocess, "infer": _infer, "publish": _publish}


def _guard_ns(plan: Plan) -> int:
    return round(plan.recipe.timing.guard_ms * 1e6)


def _bundle(plan: Plan) -> Bundle:
    bundle = read_bundle(Path(plan.recipe.bundle))
    if bundle.digest != plan.bundle_digest:
        raise LineError(f"{plan.recipe.bundle}: the bundle has changed since the line was started: restart it")
    return bundle


def rule_of(recipe: Recipe, bundle: Bundle) -> Rule:
    """The recipe's rule over the bundle's kinds; RecipeError for a threshold of an unknown kind."""
    manifest = bundle.manifest
    unknown = sorted(set(recipe.rule.thresholds) - set(manifest.kinds))
    if unknown:
        raise RecipeError(
            f"rule.thresholds: the bundle knows no {unknown[0]!r}; its kinds are {', '.join(manifest.kinds)}"
        )
    thresholds = {**manifest.thresholds, **recipe.rule.thresholds}
    return Rule(
        thresholds={kind: thresholds[kind] for kind in manifest.kinds},
        stride=manifest.stride,
        min_area_px=recipe.rule.min_area_px,
    )


def main() -> int:
    """Run the stage; what ended it, if anything, goes to `<stage>.error` for the supervisor to tell."""
    folder, stage = Path(sys.argv[1]), sys.argv[2]
    logging.basicConfig(level=logging.INFO, format=f"%(levelname)s {stage}: %(message)s")
    try:
        run_stage(folder, stage)
    except EdgeError as error:
        (folder / f"{stage}.error").write_text(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
