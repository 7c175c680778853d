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
    runtime="tensorrt",
    version="10.7.0.23",
    compute_capability=(8, 7),
    gpu="Orin",
    multiprocessors=16,
    memory_gib=61,
    integrated=True,
    driver=12060,
)
CARD = Target(
    runtime="tensorrt",
    version="10.7.0.23",
    compute_capability=(8, 9),
    gpu="RTX 4000",
    multiprocessors=48,
    memory_gib=20,
    driver=12060,
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
        "expected an engine of the judge in int8 for this device "
        "(tensorrt 10.7.0.23, Orin, sm_87, 16 multiprocessors, 61 GiB)" in said
    )
    assert "found none: run" in said


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"runtime": "tensorrt_rtx"}, "it is for tensorrt_rtx"),
        ({"version": "10.3.0"}, "it was built by tensorrt 10.3.0, and here is 10.7.0.23"),
        ({"version": "11.4.0.106"}, "it was built by tensorrt 11.4.0.106, and here is 10.7.0.23"),
        ({"compute_capability": (8, 9), "gpu": "RTX 4000"}, r"it is for another GPU (RTX 4000): "),
        ({"gpu": "Orin Nano"}, r"it is for another GPU (Orin Nano): tensorrt 10.7.0.23, Orin Nano, sm_87"),
        (
            {"multiprocessors": 8},
            "it is of another power mode: it is for Orin with 8 multiprocessors, and here are 16: set the mode "
            "that it was built in (`nvpmodel -q` shows the mode, `sudo nvpmodel -m` sets it)",
        ),
        ({"memory_gib": 30}, "it is for Orin with 30 GiB of memory, and here are 61"),
    ],
    ids=["runtime", "older version", "later version", "capability", "name", "power mode", "memory"],
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
    engines = [put(bundle, of(HERE, version="10.3.0")), put(bundle, of(HERE, multiprocessors=8))]
    said = refusal(bundle)
    assert all(engine.file.path in said for engine in engines)


@pytest.mark.parametrize(
    ("built", "here", "fits"),
    [
        ("10.7.0.23", "10.7.0.23", True),
        ("10.7.0.23", "10.13.3.9", True),
        ("10.7.0.23", "10.3.0", False),
        ("10.7.0.23", "11.4.0.106", True),
        ("11.4.0.106", "11.4.1.2", True),
        ("11.4.0.106", "10.16.1", False),
        ("11.4.0.106", "12.0.0", False),
        ("10.7.0.23", "12.0.0", False),
    ],
)
def test_a_portable_engine_runs_on_the_later_versions_that_nvidia_names(
    bundle: Bundle, built: str, here: str, fits: bool
) -> None:
    """Those of its major, and 11 for one of 10; and on no others."""
    portable = put(bundle, of(HERE, version=built), portable=True)
    assert (portable.unfit(of(HERE, version=here)) is None) is fits
    assert put(bundle).unfit(of(HERE, version="10.13.3.9")) is not None


@pytest.mark.parametrize("portable", [False, True])
def test_an_engine_outlives_its_driver(bundle: Bundle, portable: bool) -> None:
    """A driver that was renewed takes it still; another GPU does not."""
    engine = put(bundle, portable=portable)
    assert engine.unfit(of(HERE, driver=13000)) is None
    assert engine.unfit(of(HERE, compute_capability=(9, 0))) is not None
    assert key("0" * 64, "int8", 1, HERE) == key("0" * 64, "int8", 1, of(HERE, driver=13000))


def test_a_jetson_may_report_its_memory_a_little_otherwise(bundle: Bundle) -> None:
    """After a new kernel the engine still fits; on another board of the same name it does not."""
    small = of(HERE, multiprocessors=8, memory_gib=7)
    engine = put(bundle, small)
    assert engine.unfit(of(small, memory_gib=8)) is None
    assert engine.unfit(of(small, memory_gib=15)) == "it is for Orin with 7 GiB of memory, and here are 15"


def test_a_part_of_a_card_is_told(bundle: Bundle) -> None:
    """A card has no power modes; another number of multiprocessors is another card, or a part of one."""
    said = put(bundle, CARD).unfit(of(CARD, multiprocessors=40))
    assert said is not None
    assert said.startswith("it is for RTX 4000 with 48 multiprocessors, and here are 40: this is another card")
    assert "nvpmodel" not in said


def test_rtx_finishes_its_engines_on_every_gpu_of_their_capability(bundle: Bundle) -> None:
    """When they are loaded; so neither the card's name nor its size matters."""
    built = of(CARD, runtime="tensorrt_rtx", version="1.7.1.116")
    engine = put(bundle, built)
    assert engine.unfit(of(built, gpu="RTX 4090", multiprocessors=128, memory_gib=24)) is None
    assert engine.unfit(of(built, compute_capability=(12, 0))) is not None


def test_an_engine_that_was_built_without_a_gpu_runs_on_those_that_it_names(bundle: Bundle) -> None:
    """As TensorRT-RTX builds them: for the RTX series, and not for what else there is in the world."""
    here = of(HERE, runtime="tensorrt_rtx", version="1.7.1.116", compute_capability=(8, 9))
    anywhere = of(here, compute_capability=None, driver=None, gpu="", multiprocessors=None, memory_gib=None)
    engine = put(bundle, anywhere, capabilities=((8, 6), (8, 9)))
    assert fitting(bundle, "judge", "int8", here) == engine
    hopper = refusal(bundle, of(here, compute_capability=(9, 0)))
    assert (
        "it was built without a GPU, for sm_86, sm_89, and here is tensorrt_rtx 1.7.1.116, Orin, sm_90"
        in hopper
    )
    silent = msgspec.structs.replace(engine, capabilities=())
    assert "for none that it names" in str(silent.unfit(here))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "its description cannot be read"),
        (b'{"format": 2}', "its description cannot be read"),
        (
            b'{"format": 1, "role": "judge", "precision": "int8", "target": {"gpu": "Orin"}}',
            "an earlier version of this program wrote it (format 1, not 2): build it anew",
        ),
        (None, "a later version of this program wrote it (format 3, not 2): build it anew"),
    ],
    ids=["empty", "half", "of an earlier format", "of a later format"],
)
def test_a_description_that_cannot_be_read_is_told(bundle: Bundle, text: bytes | None, why: str) -> None:
    """It is passed over, and the error names it where no other fits."""
    engine = put(bundle)
    path = bundle.folder / ENGINES / f"{engine.file.path}.json"
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(engine, format=3)) if text is None else text)
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
        {"target": of(HERE, gpu="Orin Nano")},
        {"target": of(HERE, multiprocessors=8)},
        {"target": of(HERE, memory_gib=30)},
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
