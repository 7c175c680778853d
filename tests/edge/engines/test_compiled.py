"""An engine that was built for something else is told apart from one that fits, and the operator what to do."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.bundle import Bundle, read_bundle
from edge.engines.compiled import ENGINES, Compiled, Target, fitting, kept, key, read_plan
from edge.errors import EngineError
from edge.manifest import File

HERE = Target(
    runtime="tensorrt", version="10.7.0.23", compute_capability=(8, 7), driver=12060, gpu="the one that is here"
)
PLAN = b"what TensorRT made of the graph"


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Bundle:
    """A copy without engines."""
    return read_bundle(Path(shutil.copytree(tiny_bundle, tmp_path / "tiny")))


def of(target: Target, **other: Any) -> Target:
    return msgspec.structs.replace(target, **other)


def put(bundle: Bundle, target: Target = HERE, *, role: Any = "judge", **fields: Any) -> Compiled:
    """An engine of the bundle's INT8 judge, as `trt-build build` leaves it; the fields are another's."""
    told: dict[str, Any] = {"graph": bundle.digest_of_graph(role, "int8"), "batch": 1, **fields}
    known = {name: told[name] for name in ("graph", "batch", "portable", "stripped") if name in told}
    name = f"{role}.int8.{key(precision='int8', target=target, **known)}.engine"
    file = File(path=name, sha256=hashlib.sha256(PLAN).hexdigest(), bytes=len(PLAN))
    engine = Compiled(role=role, precision="int8", target=target, file=file, **told)
    folder = bundle.folder / ENGINES
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(PLAN)
    (folder / f"{name}.json").write_bytes(msgspec.json.encode(engine))
    return engine


def refusal(bundle: Bundle, here: Target = HERE) -> str:
    """What is said where no engine fits; it always ends with what to run."""
    with pytest.raises(EngineError) as refused:
        fitting(bundle, "judge", "int8", here)
    said = str(refused.value)
    assert said.endswith(f": run `trt-build build {bundle.folder}` here")
    return said


def test_the_engine_that_fits_is_found_and_read(bundle: Bundle) -> None:
    """Among those of other devices, roles and precisions."""
    put(bundle, of(HERE, compute_capability=(8, 9)))
    put(bundle, role="reference")
    wanted = put(bundle)
    assert fitting(bundle, "judge", "int8", HERE) == wanted
    assert wanted.file.path == f"judge.int8.{wanted.key}.engine"
    assert read_plan(bundle, wanted) == PLAN


def test_of_several_the_one_of_the_largest_batch_is_taken(bundle: Bundle) -> None:
    """Who built for more parts at once wants them judged at once."""
    put(bundle, batch=1)
    put(bundle, batch=8)
    put(bundle, batch=4)
    assert fitting(bundle, "judge", "int8", HERE).batch == 8


def test_a_bundle_without_engines_says_what_builds_one(bundle: Bundle) -> None:
    """The error names role, precision and device."""
    said = refusal(bundle)
    assert (
        "expected an engine of the judge in int8 for this device (tensorrt 10.7.0.23, sm_87, CUDA driver 12.6)"
        in said
    )
    assert "found none: run" in said


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"runtime": "tensorrt_rtx"}, "it is for tensorrt_rtx"),
        ({"version": "10.3.0"}, "it was built by tensorrt 10.3.0, and here is 10.7.0.23"),
        ({"version": "11.4.0.106"}, "it was built by tensorrt 11.4.0.106, and here is 10.7.0.23"),
        ({"compute_capability": (8, 9), "gpu": "RTX 4000"}, r"it is for another GPU (RTX 4000): "),
        ({"driver": 12080}, "it was built with another driver: tensorrt 10.7.0.23, sm_87, CUDA driver 12.8"),
    ],
    ids=["runtime", "older version", "later version", "GPU", "driver"],
)
def test_an_engine_of_another_device_is_refused(bundle: Bundle, other: dict[str, Any], why: str) -> None:
    """The error names the file and says in what it differs."""
    engine = put(bundle, of(HERE, **other))
    assert f"{engine.file.path}.json: {why}" in refusal(bundle)


def test_an_engine_of_another_graph_is_refused(bundle: Bundle) -> None:
    """After an export the engines of before are stale."""
    engine = put(bundle, graph="0" * 64)
    assert f"{engine.file.path}.json: it was made of another graph" in refusal(bundle)


def test_each_engine_that_does_not_fit_is_told(bundle: Bundle) -> None:
    """Nobody has to guess which of several was meant."""
    engines = [put(bundle, of(HERE, version="10.3.0")), put(bundle, of(HERE, driver=12080))]
    said = refusal(bundle)
    assert all(engine.file.path in said for engine in engines)


@pytest.mark.parametrize(
    ("here", "fits"), [("10.7.0.23", True), ("10.13.3.9", True), ("10.3.0", False), ("11.4.0.106", False)]
)
def test_a_portable_engine_runs_on_later_versions_of_its_major(bundle: Bundle, here: str, fits: bool) -> None:
    """And on no others."""
    portable = put(bundle, portable=True)
    assert (portable.unfit(of(HERE, version=here)) is None) is fits
    assert put(bundle).unfit(of(HERE, version="10.13.3.9")) is not None


def test_a_portable_engine_outlives_its_driver(bundle: Bundle) -> None:
    """A driver that was renewed takes it still; another GPU does not."""
    portable = put(bundle, portable=True)
    assert portable.unfit(of(HERE, driver=13000)) is None
    assert portable.unfit(of(HERE, compute_capability=(9, 0))) is not None


def test_an_engine_that_was_built_without_a_gpu_runs_on_those_that_it_names(bundle: Bundle) -> None:
    """As TensorRT-RTX builds them: for the RTX series, and not for what else there is in the world."""
    here = of(HERE, runtime="tensorrt_rtx", version="1.7.1.116", compute_capability=(8, 9))
    anywhere = of(here, compute_capability=None, driver=None, gpu="")
    engine = put(bundle, anywhere, capabilities=((8, 6), (8, 9)))
    assert fitting(bundle, "judge", "int8", here) == engine
    hopper = refusal(bundle, of(here, compute_capability=(9, 0)))
    assert "it was built without a GPU, for sm_86, sm_89, and here is tensorrt_rtx 1.7.1.116, sm_90" in hopper
    silent = msgspec.structs.replace(engine, capabilities=())
    assert "for none that it names" in str(silent.unfit(here))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "its description cannot be read"),
        (b'{"format": 1}', "its description cannot be read"),
        (None, "it is of format 2, not 1"),
    ],
    ids=["empty", "half", "of a later format"],
)
def test_a_description_that_cannot_be_read_is_told(bundle: Bundle, text: bytes | None, why: str) -> None:
    """It is passed over, and the error names it where no other fits."""
    engine = put(bundle)
    path = bundle.folder / ENGINES / f"{engine.file.path}.json"
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(engine, format=2)) if text is None else text)
    assert f"{path.name}: {why}" in refusal(bundle)
    sound = put(bundle, batch=2)
    assert fitting(bundle, "judge", "int8", HERE) == sound


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        (PLAN[:-1], f"expected {len(PLAN)} bytes, found {len(PLAN) - 1}"),
        (PLAN[:-1] + b"H", "was altered, its SHA-256 is another"),
        (None, "cannot read the engine: No such file"),
    ],
    ids=["cut short", "altered", "missing"],
)
def test_a_damaged_engine_is_refused(bundle: Bundle, plan: bytes | None, why: str) -> None:
    """It is never given to TensorRT; the error names the file and says what to do."""
    engine = put(bundle)
    path = bundle.folder / ENGINES / engine.file.path
    path.unlink() if plan is None else path.write_bytes(plan)
    with pytest.raises(EngineError) as refused:
        read_plan(bundle, engine)
    assert str(refused.value).startswith(f"{path}: {why}")
    assert str(refused.value).endswith(f"delete it and run `trt-build build {bundle.folder}` here")


@pytest.mark.parametrize(
    "other",
    [
        {"graph": "1" * 64},
        {"precision": "fp16"},
        {"batch": 2},
        {"target": of(HERE, runtime="tensorrt_rtx")},
        {"target": of(HERE, version="10.8.0")},
        {"target": of(HERE, compute_capability=(8, 9))},
        {"target": of(HERE, driver=12080)},
        {"portable": True},
        {"stripped": True},
    ],
    ids=lambda other: next(iter(other)),
)
def test_engines_that_differ_have_names_of_their_own(other: dict[str, Any]) -> None:
    """None is written over another's file."""
    told: dict[str, Any] = {"graph": "0" * 64, "precision": "int8", "batch": 1, "target": HERE}
    assert key(**told) == key(**told)
    assert key(**(told | other)) != key(**told)


def test_files_beside_them_are_no_engines(bundle: Bundle) -> None:
    """A report on layers, and what a build that was killed left."""
    engine = put(bundle)
    folder = bundle.folder / ENGINES
    (folder / "judge.int8.0000.engine").write_bytes(PLAN)
    (folder / "judge.int8.0000.layers.json").write_text("{}")
    assert [found for _, found in kept(bundle.folder)] == [engine]
