"""Engines that `trt-build build` made for this GPU: their times, their start, and what FP16 decides otherwise.

    python benchmarks/gpu.py STPM AUTOENCODER [--data FOLDER] [--precision fp16] [--batch 1 --batch 16]

What matters most comes first, and `--out` holds all results so far, so a run may be stopped. Host to host is
from a picture in the ring's slot, pinned, to outputs in host memory; device time is what the network takes of
that by the GPU's own events, and queueing what the CPU takes to hand the network to the GPU. The copy floor is
what the bytes take at the bandwidth that one large copy reaches here; the compute floor is the multiplications
at the tensor cores' peak by NVIDIA's papers.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from gpu_machine import described, floors
from gpu_times import measured, measured_alone

from edge.bundle import Bundle, read_bundle
from edge.engines import ON_GPU, open_engine
from edge.engines.trt import TensorRT, TensorRTRTX, built_engines
from edge.errors import EngineError
from edge.judges.golden import decisions, differences
from edge.manifest import Precision
from edge.recipe import EngineChoice, Runtime
from trt_build.data.cases import Case, answers_of
from trt_build.engines.timing import TunedForBatches
from trt_build.engines.verify import REFERENCE, noise
from trt_build.methods.table import method_of

Built = tuple[Bundle, Runtime, Precision]
RUNTIMES: dict[Runtime, type[TensorRT]] = {"tensorrt": TensorRT, "tensorrt_rtx": TensorRTRTX}
#: A process of a line's stage, as far as its engine goes.
START = """
import sys
from pathlib import Path
from edge.bundle import read_bundle
from edge.engines import open_engine
from edge.judges.golden import check_golden
from edge.recipe import EngineChoice

bundle = read_bundle(Path(sys.argv[1]))
with open_engine(EngineChoice(kind=sys.argv[2], precision=sys.argv[3]), bundle) as engine:
    check_golden(engine, bundle)
"""


@dataclass(frozen=True)
class Job:
    """One measurement, which gives a row of the report."""

    report: str  # the part of the report that its row belongs to
    bundle: Bundle
    runtime: Runtime
    precision: Precision
    row: dict[str, Any]
    measure: Callable[[], dict[str, Any]]

    def __str__(self) -> str:
        batch = f", batch {self.row['batch']}" if self.row else ""
        return f"{self.report}: {self.bundle.manifest.name} {self.runtime} {self.precision}{batch}"


def start(bundle: Bundle, runtime: Runtime, precision: Precision) -> dict[str, Any]:
    """Measure a new process: to its engine, loaded and warm, that has reproduced the golden frames."""
    taken = []
    for _ in range(3):
        started = time.perf_counter()
        command = [sys.executable, "-c", START, str(bundle.folder), runtime, precision]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise EngineError(done.stderr[-300:])
        taken.append(round(time.perf_counter() - started, 3))
    return {"armed_s": sorted(taken)[1], "all_s": taken}


def flips(bundle: Bundle, runtime: Runtime, precision: Precision, data: Path | None) -> dict[str, Any]:
    """Judge pictures by the engine and by FP32 on the CPU; count the decisions that differ."""
    manifest = bundle.manifest
    if data:
        labelled, _ = method_of(manifest.method).labelled(data, bundle)
        cases = list(labelled)
    else:
        golden = bundle.golden()
        cases = [Case(name=case.name, image=case.image, master=case.master) for case in golden]
        cases += noise(manifest, 12)
    with open_engine(EngineChoice(kind=runtime, precision=precision), bundle) as engine:
        ours = answers_of(engine, manifest, cases)
    with open_engine(REFERENCE, bundle) as reference:
        theirs = answers_of(reference, manifest, cases)
    otherwise, largest = 0, 0.0
    for our, their in zip(ours, theirs, strict=True):
        otherwise += bool((decisions(our, manifest) != decisions(their, manifest)).any())
        largest = max(largest, differences(our, their, manifest)["score"])
    return {"pictures": len(cases), "decided_otherwise": otherwise, "largest_difference_of_a_score": largest}


def speed(
    bundle: Bundle, runtime: Runtime, precision: Precision, batch: int, rounds: int, every_ms: float
) -> dict[str, Any]:
    with RUNTIMES[runtime](bundle, precision, 2, 0) as engine:
        found = measured(engine, bundle, batch, rounds, every_ms)
        has_others = batch == 1 < engine.most_samples and runtime == "tensorrt"
    if has_others:
        with TunedForBatches(bundle, precision, 1, 0) as engine:
            found["by_the_kernels_for_batches"] = measured_alone(engine, bundle, rounds)
    return found


def jobs(
    engines: list[Built],
    batches: list[int],
    machine: dict[str, Any],
    rounds: int,
    every_ms: float,
    data: Path | None,
) -> Iterator[Job]:
    """Yield what to measure, the most important first: one part in FP16, its start, its flips, the rest."""

    def timed(bundle: Bundle, runtime: Runtime, precision: Precision, batch: int) -> Job:
        def measure() -> dict[str, Any]:
            found = speed(bundle, runtime, precision, batch, rounds, every_ms)
            return found | floors(bundle, precision, batch, machine)

        return Job("engines", bundle, runtime, precision, {"batch": batch}, measure)

    order, first = sorted(batches), []
    for engine in engines:
        if all(engine[:2] != other[:2] for other in first):
            first.append(engine)
    for engine in first:
        yield timed(*engine, order[0])
    for engine in first:
        yield Job("starts", *engine, {}, lambda engine=engine: start(*engine))
    for engine in engines:
        yield Job("flips", *engine, {}, lambda engine=engine: flips(*engine, data))
    for batch in order:
        for engine in engines:
            if engine not in first or batch != order[0]:
                yield timed(*engine, batch)


def built_here(bundles: list[Bundle], asked: list[str], not_run: dict[str, str]) -> list[Built]:
    """Return the engines to measure, in the order in which a line prefers precisions if none was timed."""
    found: list[Built] = []
    for runtime in RUNTIMES:
        for bundle in bundles:
            try:
                found += [(bundle, runtime, precision) for precision in built_engines(runtime, bundle)]
            except EngineError as error:
                not_run[f"{bundle.manifest.name} {runtime}"] = str(error)
    wanted = [engine for engine in found if engine[2] in (asked or ON_GPU)]
    return sorted(wanted, key=lambda engine: ON_GPU.index(engine[2]))


def main(
    bundles: Annotated[
        list[Path], typer.Argument(help="Folders of bundles whose engines are built for this GPU.")
    ],
    precision: Annotated[
        list[str] | None,
        typer.Option(help="Precision to measure; may be given several times. Left out, all that are built."),
    ] = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(help="Parts in one request; may be given several times. Left out, 1 and 16."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of labelled pictures to compare decisions on; left out, the golden frames."),
    ] = None,
    every_ms: Annotated[
        float, typer.Option(min=0, help="Milliseconds between the requests of the paced series.")
    ] = 20.0,
    rounds: Annotated[
        int, typer.Option(min=100, help="Requests that are timed, after as many to warm up.")
    ] = 1000,
    out: Annotated[Path | None, typer.Option(help="File that holds all results so far.")] = None,
) -> None:
    """Print one line of JSON with the GPU and the results of each engine; show on stderr what is measured."""
    machine = described()
    report: dict[str, Any] = {"machine": machine, "engines": [], "starts": [], "flips": [], "not_run": {}}
    read = [read_bundle(folder) for folder in bundles]
    engines = built_here(read, precision or [], report["not_run"])
    for job in jobs(engines, batch or [1, 16], machine, rounds, every_ms, data):
        print(job, file=sys.stderr, flush=True)
        names = {"bundle": job.bundle.manifest.name, "runtime": job.runtime, "precision": job.precision}
        try:
            report[job.report].append(names | job.row | job.measure())
        except EngineError as error:
            report["not_run"][str(job)] = str(error)
        if out:
            part = out.with_name(f"{out.name}.part")
            part.write_text(json.dumps(report, indent=1))
            part.replace(out)
    print(json.dumps(report))


if __name__ == "__main__":
    typer.run(main)
