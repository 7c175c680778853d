"""What `trt-build evaluate` makes of labelled pictures: figures, and the files that were asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge.bundle import read_bundle
from edge.judges.golden import judge
from edge.recipe import EngineChoice
from trt_build.data.cases import judging_engine
from trt_build.data.errors import DatasetError
from trt_build.figures.boards import FloatArray, Judge, Picture
from trt_build.terminal.progress import counted

SAID_BY_REPORT = ("image_auroc", "escape", "overkill")  # of itself, with intervals


@dataclass(frozen=True, kw_only=True)
class Examined:
    """What was found, and where more of it was written."""

    figures: dict[str, float]
    written: tuple[str, ...] = ()


def examine_boards(model: Path, data: Path, *, chosen_on: Path | None, report: Path | None) -> Examined:
    """A comparator, as a bundle or a checkpoint, on pairs; pictures of the worst go into the report's folder.

    The cut is chosen on those of the pairs `chosen_on` that were kept from training; else it is even odds.
    """
    from trt_build.data.pairs import read_pairs
    from trt_build.figures.boards import choose_cut, draw_worst, figures, find_all
    from trt_build.methods.comparator.steps import held_out

    test = read_pairs(data)
    kept = held_out(chosen_on) if chosen_on else []
    with _open_judge(model) as ask:
        cut = choose_cut(kept, find_all(ask, counted(kept, "choosing the cut"))) if kept else 0.5
        found = find_all(ask, counted(test, "judging boards"))
    measured = figures(test, found, cut=cut)
    if not report:
        return Examined(figures=measured)
    drawn = draw_worst(test, found, report, cut=cut)
    return Examined(figures=measured, written=(f"{len(drawn)} pictures in {report}",))


def examine_parts(
    model: Path, data: Path, *, report: Path | None, run: Path | None, verdicts: Path | None
) -> Examined:
    """A bundle of a method that knows good parts only, on a folder's test parts."""
    from trt_build.figures.parts import evaluate

    progress = _progress(run) if run else None
    bundle = read_bundle(model)
    found = evaluate(bundle, data, EngineChoice())
    written = []
    if verdicts:
        lines = (json.dumps({"part": name, "reject": reject}) for name, reject in found.rejected.items())
        verdicts.write_text("".join(line + "\n" for line in lines))
        written.append(f"verdicts in {verdicts}")
    if report:
        from trt_build.figures.report import write_report

        page = write_report(
            report,
            title=f"{bundle.manifest.name}: {bundle.manifest.method} on {data.resolve().name}",
            judged=found.judged,
            calibration=bundle.manifest.calibration,
            figures={name: value for name, value in found.figures.items() if name not in SAID_BY_REPORT},
            facts=bundle.manifest.facts,
            progress=progress,
        )
        written.append(f"report in {page}")
    return Examined(figures=found.figures, written=tuple(written))


def examine_products(model: Path, data: Path) -> Examined:
    """A matcher's bundle on the products that were kept from training."""
    from trt_build.methods.matcher.steps import evaluate

    return Examined(figures=evaluate(read_bundle(model), data, EngineChoice()))


def _progress(run: Path) -> Path:
    """What a training noted."""
    from trt_build.methods.loop import PROGRESS

    if not (run / PROGRESS).is_file():
        raise DatasetError(f"{run}: expected the folder of a training, with {PROGRESS} in it; found none")
    return run / PROGRESS


@contextmanager
def _open_judge(model: Path) -> Iterator[Judge]:
    if model.is_file():
        from trt_build.methods.comparator.train import load_comparator, torch_judge

        yield torch_judge(load_comparator(model))
        return
    bundle = read_bundle(model)
    tensor = bundle.manifest.input.tensor
    with judging_engine(EngineChoice(), bundle) as engine:

        def ask(master: Picture, board: Picture) -> tuple[FloatArray, FloatArray]:
            outputs = judge(engine, bundle.manifest, tensor(board), tensor(master))
            return outputs["map"][0], outputs["extents"][0]

        yield ask
