"""What only a GPU shows, run by `pytest -m gpu` where there is one: kernels, lanes and engines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import KINDS, write_anomaly, write_comparator
from engines import changed, freed

from edge.bundle import read_bundle
from edge.engines import open_engine
from edge.engines.base import Region, Sample
from edge.engines.cuda import NON_BLOCKING, Device, Pinned, driver_library, open_device
from edge.engines.lanes import Binding, Lane
from edge.engines.warping import Warping
from edge.image.warp import Warp, Warper
from edge.judges.golden import check_golden
from edge.manifest import InputSpec
from edge.recipe import EngineChoice

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]

SHAPE = (1, 1, 96, 128)


@pytest.fixture
def device() -> Iterator[Device]:
    with open_device() as device:
        yield device


@contextmanager
def pinned_pages(pinned: Pinned, count: int, nbytes: int) -> Iterator[np.ndarray]:
    """Page-aligned memory as of a ring, `(count, nbytes)` uint8, registered."""
    memory = np.zeros(count * nbytes + 4096, np.uint8)
    start = -memory.ctypes.data % 4096
    pages = memory[start : start + count * nbytes].reshape(count, nbytes)
    pinned.register(pages)
    yield pages
    pinned.release()


class Copying:
    """In place of a network: what comes in goes out, so each part's answer is its own picture."""

    def __init__(self, nbytes: int) -> None:
        self._nbytes = nbytes

    def enqueue(self, count: int, addresses: Mapping[str, int], stream: Any) -> None:
        driver_library().memcpy_dtod_async(addresses["map"], addresses["image"], count * self._nbytes, stream)


@pytest.mark.parametrize(
    ("lanes", "batch", "graphs"),
    [(lanes, batch, graphs) for lanes in (1, 2, 3) for batch in (1, 4) for graphs in (False, True)[:lanes]],
)
def test_each_of_a_thousand_parts_gets_its_own_result(
    device: Device, lanes: int, batch: int, graphs: bool
) -> None:
    """From pinned slots that are written anew as soon as their part is collected, with every lane in flight.

    The outputs of a batch of one go straight into a slot. With graphs, each network is launched by one call.
    """
    nbytes = int(np.prod(SHAPE))
    image = Binding(shape=SHAPE, dtype=np.dtype(np.uint8))
    output = Binding(shape=(*SHAPE[:3], SHAPE[3] // 4), dtype=np.dtype(np.float32))
    pinned = Pinned(device)
    made = [
        Lane(Copying(nbytes), pinned, image=image, features={}, outputs={"map": output}, batch=batch, warp=None)
        for _ in range(lanes)
    ]
    if graphs:
        assert [lane.warm() for lane in made] == [""] * lanes
    rng = np.random.default_rng(0)
    with pinned_pages(pinned, 2 * lanes * batch, nbytes) as pages:
        shown: list[list[np.ndarray]] = [[] for _ in made]
        for turn in range(1000 // batch + lanes):
            lane = turn % lanes
            if turn >= lanes:
                for picture, said in zip(shown[lane], made[lane].collect(), strict=True):
                    assert said["map"].tobytes() == picture.tobytes()
            if turn < 1000 // batch:
                slots, answers = (half[lane * batch :][:batch] for half in np.split(pages, 2))
                slots[:] = rng.integers(0, 256, slots.shape, np.uint8)
                shown[lane] = [slot.copy() for slot in slots]
                samples = [
                    Sample(one.reshape(SHAPE), slot=two) for one, two in zip(slots, answers, strict=True)
                ]
                made[lane].submit(samples)
        written = [np.array_equal(*pair) for pair in zip(*np.split(pages, 2), strict=True)]
        assert all(written) if batch == 1 else not any(written)
        del made


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled kernels."""
    from trt_build.engines.kernels import compile_kernels

    return compile_kernels(tmp_path_factory.mktemp("kernels"))


@pytest.mark.parametrize("color", ["gray", "bgr", "rgb"])
def test_the_kernel_warps_frames_as_opencv_does(device: Device, kernels: Path, color: Any) -> None:
    """Within one grey level, for crops, turns and sizes at random."""
    cuda = driver_library()
    function = cuda.module_from_file(str(kernels)).get_function("warp")
    rng = np.random.default_rng(1)
    for _ in range(100):
        shape = tuple(rng.integers(40, 400, 2)) + ((3,) if rng.integers(2) else ())
        frame = rng.integers(0, 256, shape, np.uint8)
        spec = InputSpec(height=int(rng.integers(16, 200)), width=int(rng.integers(16, 200)), color=color)
        angle, shift = rng.uniform(-0.1, 0.1), rng.uniform(-9, 9, 2)
        pose = np.array([[np.cos(angle), -np.sin(angle), shift[0]], [np.sin(angle), np.cos(angle), shift[1]]])
        under = rng.integers(0, 256, spec.shape, np.uint8) if rng.integers(2) else None
        ignored = rng.random(spec.shape[2:]) < 0.2 if rng.integers(2) else None
        warp = Warper(None, spec, ignored=ignored).warp(frame.shape, pose)
        wanted = np.empty(spec.shape, np.uint8)
        warp.apply(frame, wanted, under)
        found = warped(cuda, function, warp, frame, under, spec.shape)
        assert np.abs(found.astype(int) - wanted).max() <= 1


@pytest.mark.parametrize("source", ["bgr", "rggb"])
def test_of_a_frame_one_copy_of_the_region_serves_two_judges(
    device: Device, kernels: Path, source: Any
) -> None:
    """Each on a stream of its own, and in memory that held the region of another frame before."""
    cuda, pinned, rng = driver_library(), Pinned(device), np.random.default_rng(3)
    module = cuda.module_from_file(str(kernels))
    shape = (480, 640, 3) if source == "bgr" else (480, 640)
    streams = [cuda.Stream(NON_BLOCKING) for _ in range(2)]
    judges = [Warping(module.get_function("warp"), pinned) for _ in streams]
    spec = InputSpec(height=96, width=128, color="bgr")
    outs = [cuda.mem_alloc(int(np.prod(spec.shape))) for _ in streams]
    with pinned_pages(pinned, 1, -(-int(np.prod(shape)) // 4096) * 4096) as pages:
        frame = pages[0, : int(np.prod(shape))].reshape(shape)
        for _ in range(20):
            frame[:] = rng.integers(0, 256, shape, np.uint8)
            crops = [(int(rng.integers(70, 400)), int(rng.integers(70, 280)), 160, 120) for _ in judges]
            pose = np.array([[1, 0.02, rng.uniform(-9, 9)], [-0.02, 1, rng.uniform(-9, 9)]])
            bayer = None if source == "bgr" else source
            warps = [Warper(crop, spec, bayer).warp(shape, pose) for crop in crops]
            region = Region(*warps)
            for judge, warp, out, stream in zip(judges, warps, outs, streams, strict=True):
                judge.queue(frame, warp, region, 0, 0, int(out), stream)
            for warp, out, stream in zip(warps, outs, streams, strict=True):
                stream.synchronize()
                wanted, found = np.empty(spec.shape, np.uint8), np.empty(spec.shape, np.uint8)
                warp.apply(frame, wanted)
                cuda.memcpy_dtoh(found, out)
                assert np.abs(found.astype(int) - wanted).max() <= 1
        del judges


def warped(
    cuda: Any, function: Any, warp: Warp, frame: np.ndarray, under: np.ndarray | None, shape: tuple[int, ...]
) -> np.ndarray:
    """What the kernel makes of a frame."""
    out = np.empty(shape, np.uint8)
    on_device, result = cuda.to_device(frame), cuda.mem_alloc(out.nbytes)
    more = [None if array is None else cuda.to_device(array) for array in (under, warp.ignored)]
    known = (0 if array is None else int(array) for array in more)
    places = map(np.uintp, (int(on_device), *known, int(result)))
    function(*places, *warp.arguments(), grid=warp.grid[:2], block=warp.block)
    cuda.memcpy_dtoh(out, result)
    return out


@pytest.fixture(params=["tensorrt", "tensorrt_rtx"])
def runtime(request: pytest.FixtureRequest) -> str:
    trt = pytest.importorskip(request.param)
    with open_device() as device:
        capability = "SM{}{}".format(*device.compute_capability)
    if request.param == "tensorrt_rtx" and capability not in trt.ComputeCapability.__members__:
        pytest.skip(f"tensorrt_rtx does not support this GPU ({capability})")
    return str(request.param)


@pytest.mark.parametrize("kind", ["comparator", "anomaly"])
def test_a_built_engine_judges_as_the_bundle_says(runtime: str, kind: str, tmp_path: Path) -> None:
    """Built here, it reproduces the golden frames, and each of 1,000 parts on two lanes gets its own result."""
    from trt_build.__main__ import app

    folder = tmp_path / kind
    write_comparator(folder, KINDS) if kind == "comparator" else write_anomaly(folder)
    app(["build", str(folder), "--runtime", runtime, "--precision", "fp32"], standalone_mode=False)
    bundle = read_bundle(folder)
    rng = np.random.default_rng(2)
    pictures = [rng.integers(0, 256, bundle.manifest.input.shape, np.uint8) for _ in range(50)]
    with ExitStack() as opened:
        ours, theirs = (
            opened.enter_context(open_engine(EngineChoice(kind=each, precision="fp32"), bundle))
            for each in (runtime, "onnxruntime")
        )
        check_golden(ours, bundle)
        wanted = []
        for picture in pictures:
            theirs.submit(0, [Sample(picture, theirs.reference(pictures[0]) if kind == "comparator" else None)])
            wanted.append({name: np.array(output) for name, output in theirs.collect(0)[0].items()})
        reference = ours.reference(pictures[0]) if kind == "comparator" else None
        for part in range(1000 + 2):
            if part >= 2:
                for name, output in ours.collect(part % 2)[0].items():
                    np.testing.assert_allclose(output, wanted[(part - 2) % 50][name], atol=1e-3)
            if part < 1000:
                ours.submit(part % 2, [Sample(pictures[part % 50], reference)])


def test_a_built_engine_gives_the_same_numbers_from_its_first_run_on(runtime: str, tmp_path: Path) -> None:
    """With each number of parts at once: no kernel is replaced by another while parts are judged."""
    from trt_build.__main__ import app

    bundle = changed(read_bundle(write_anomaly(tmp_path / "free")), freed)
    words = ["build", str(bundle.folder), "--runtime", runtime, "--precision", "fp32", "--batch", "4"]
    app(words, standalone_mode=False)
    pictures = np.random.default_rng(3).integers(0, 256, (4, *bundle.manifest.input.shape), np.uint8)
    with open_engine(EngineChoice(kind=runtime, precision="fp32"), read_bundle(bundle.folder)) as engine:
        assert engine.most_samples == 4
        for count in (1, 4, 2, 3):
            shown = [Sample(picture) for picture in pictures[:count]]
            said = set()
            for run in range(200):
                engine.submit(run % 2, shown)
                outputs = engine.collect(run % 2)
                said.add(b"".join(output.tobytes() for part in outputs for output in part.values()))
            assert len(said) == 1


def test_a_gpu_that_is_lost_says_so() -> None:
    """After a kernel wrote where no memory is, every use raises EngineLost, and the process still ends.

    It does so in a process of its own, since nothing in that process can use the GPU any more.
    """
    script = Path(__file__).with_name("lost_gpu.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    tasks = ["judging a part", "queueing a part", "preparing for masters", "allocating"]
    assert [error[0] for error in said] == ["EngineLost"] * 4, said
    for (_, text), task in zip(said, tasks, strict=True):
        assert text.startswith(f"{task}: the GPU does not answer: ") or task == "allocating", text
        assert "illegal" in text.lower()
