"""The GPU's lanes on real pycuda and a fake driver: each part gets its own result; no lane waits for all."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from bundles import write_anomaly
from fake_gpu import parts_through_lanes
from fake_gpu.machine import Machine
from fake_gpu.plans import answer, promise_answers, write_engines
from fake_gpu.runs import COMPARING, JUDGING, ORDERS, run
from lines import Subscriber, judge, judged, running, stop, until, write_recipe

from edge.bundle import read_bundle
from edge.memory.ring import outputs_nbytes
from edge.tiles import Grid

PARTS = Path(parts_through_lanes.__file__)
THRESHOLD = 2.0**15  # the fake network's scores lie between 0 and twice that
PIXELS = 64 * 64  # bytes of a picture


@pytest.mark.parametrize("order", ["late", "shuffled"])
@pytest.mark.parametrize(
    ("lanes", "batch", "kind", "frames", "judges"),
    [
        (1, 1, JUDGING, False, 1),
        (2, 1, JUDGING, False, 1),
        (3, 1, COMPARING, False, 1),
        (1, 4, COMPARING, False, 1),
        (2, 3, COMPARING, True, 1),
        (3, 2, JUDGING, True, 2),
    ],
)
def test_each_of_a_thousand_parts_gets_its_own_result(
    bench: Machine, tmp_path: Path, lanes: int, batch: int, kind: str, frames: bool, judges: int, order: str
) -> None:
    """It does so in any order of the device's work, with batches of any size, and while masters are dropped."""
    asked = {"lanes": lanes, "batch": batch, "frames": frames, "judges": judges}
    told = run(bench.having(**ORDERS[order]), tmp_path, kind, views=5, masters_kept=1, **asked)
    assert (told.error, told.wrong, told.unknown, told.right) == ("", [], {}, 1000)


@pytest.mark.parametrize(("batch", "kind", "judges"), [(1, JUDGING, 1), (2, COMPARING, 1), (3, JUDGING, 2)])
def test_a_batch_that_is_ready_before_an_older_one_is_finished_before_it(
    bench: Machine, tmp_path: Path, batch: int, kind: str, judges: int
) -> None:
    """Each part still gets its own result, and its slot is free for no other part before that."""
    told = run(bench, tmp_path, kind, lanes=3, batch=batch, judges=judges, asks=True)
    assert (told.error, told.wrong, told.unknown, told.right) == ("", [], {}, 1000)


@pytest.mark.parametrize(("kind", "batch"), [(JUDGING, 1), (COMPARING, 3)])
def test_while_parts_flow_nothing_waits_for_the_whole_device(
    bench: Machine, tmp_path: Path, kind: str, batch: int
) -> None:
    """No call waits for all lanes or spins, and no picture is copied from memory that is not pinned."""
    told = run(bench, tmp_path, kind, batch=batch)
    masters = 3 * PIXELS if kind == COMPARING else 0  # these may be copied from anywhere, once
    assert told.grown["pageable_to_device_bytes"] == masters
    assert told.grown["registered_to_device_bytes"] == 1000 * PIXELS  # straight from the ring
    assert told.grown["host_to_device_bytes"] == 1000 * PIXELS + masters
    idle = ("context_synchronisations", "synchronous_copies", "device_to_pageable_bytes", "frees_while_busy")
    assert [told.grown[name] for name in (*idle, "default_stream_work")] == [0] * 5
    assert told.spun == 0
    assert told.live == {}


@pytest.mark.parametrize("judges", [1, 2, 3])
@pytest.mark.parametrize("kind", [JUDGING, COMPARING])
def test_of_a_frame_the_judges_region_travels_once(
    bench: Machine, tmp_path: Path, kind: str, judges: int
) -> None:
    """Not the rest of the frame, nor once for each judge. Only lanes that share a copy wait for one another."""
    told = run(bench, tmp_path, kind, frames=True, judges=judges, parts=100)
    assert (told.error, told.wrong, told.right) == ("", [], 100)
    assert told.grown["registered_to_device_bytes"] == told.read_bytes
    masks = 2 * judges * PIXELS  # a lane
    masters = 3 * judges * PIXELS if kind == COMPARING else 0
    assert told.grown["pageable_to_device_bytes"] == masks + masters
    assert told.calls.get("cuStreamWaitEvent", 0) == 100 * (judges - 1)
    assert told.grown["frees_while_busy"] == told.grown["synchronous_copies"] == 0


@pytest.mark.parametrize("bayer", [None, "rggb"])
def test_tiles_are_warped_from_one_copy_of_their_region(
    bench: Machine, tmp_path: Path, bayer: str | None
) -> None:
    """In raw frames, too, where a pixel has its colours from neighbours beyond the region."""
    here = bench.having(**ORDERS["shuffled"])
    told = run(here, tmp_path, frames=True, bayer=bayer, tiles=(2, 2), batch=8, parts=100)
    assert (told.error, told.wrong, told.right) == ("", [], 100)
    assert told.grown["registered_to_device_bytes"] == told.read_bytes
    assert told.live == {}


@pytest.mark.parametrize(
    ("kind", "frames", "judges"),
    [(JUDGING, False, 1), (JUDGING, True, 1), (COMPARING, True, 1), (JUDGING, True, 2)],
)
@pytest.mark.parametrize("integrated", [False, True], ids=["card", "integrated"])
def test_the_first_part_finds_everything_there(
    bench: Machine, tmp_path: Path, kind: str, frames: bool, judges: int, integrated: bool
) -> None:
    """Once infer is warm, no part waits for memory, or for a kernel that has to be loaded first."""
    here = bench.having(**({"FAKE_CUDA_INTEGRATED": 1} if integrated else {}))
    asked = {"batch": 3, "frames": frames, "judges": judges, "views": 1, "parts": 100}
    told = run(here, tmp_path, kind, warms=True, **asked)
    assert (told.wrong, told.right) == ([], 100)
    assert (told.grown["allocations"], told.grown["first_launches"]) == (0, 0)


@pytest.mark.parametrize("order", ["late", "shuffled"])
@pytest.mark.parametrize("judges", [1, 2])
def test_a_part_that_lost_its_slot_leaves_the_next_one_its_outputs(
    bench: Machine, tmp_path: Path, judges: int, order: str
) -> None:
    """Outputs go straight into slots; those of a part that lost its slot come before those of the next part."""
    told = run(bench.having(**ORDERS[order]), tmp_path, overtaken=True, judges=judges, parts=200)
    assert (told.error, told.wrong, told.right) == ("", [], 100)
    assert set(told.unknown) == set(range(0, 200, 2))
    assert all("belongs to a later part by now" in why for why in told.unknown.values())


@pytest.mark.parametrize("batch", [1, 3])
def test_outputs_come_in_one_copy_and_those_of_one_part_straight_into_its_slot(
    bench: Machine, tmp_path: Path, batch: int
) -> None:
    """Several parts lie in several slots, so the CPU copies theirs on."""
    told = run(bench, tmp_path, COMPARING, batch=batch, parts=300, lanes=1)
    assert (told.error, told.wrong, told.right) == ("", [], 300)
    batches = told.calls["cuEventSynchronize"] - 3  # which is also waited for with each master
    assert told.calls["cuMemcpyDtoHAsync_v2"] == batches
    manifest = read_bundle(tmp_path / f"{COMPARING} {batch}").manifest
    straight = outputs_nbytes(manifest.answers)
    if batch == 1:
        assert told.grown["device_to_registered_bytes"] == 300 * straight
    else:
        assert told.grown["device_to_registered_bytes"] % straight == 0  # of the batches with one part
        assert told.grown["device_to_registered_bytes"] < 150 * straight


def test_a_slot_says_that_nobody_wrote_it_until_its_outputs_are_there(bench: Machine) -> None:
    """Whatever it held before, no part can pass by it if the copy fails."""
    told = bench.says(
        LANE
        + """
    import mmap

    lane.collect()
    slot = np.frombuffer(mmap.mmap(-1, 4096), np.uint8)
    lane._pinned.register(slot)
    lane.submit([Sample(picture, slot=slot)])
    said["before"] = bool(np.isnan(slot.view(np.float32)[0]))
    (outputs,) = lane.collect()
    said["after"] = outputs["map"].tobytes() == picture.tobytes() == slot[:16].tobytes()
    said["there"] = np.shares_memory(outputs["map"], slot)
    lane._pinned.release()
    """
    )
    assert told == {"before": True, "after": True, "there": True}


def test_an_answer_that_is_not_a_number_stays_one(bench: Machine, tmp_path: Path) -> None:
    """NaN reaches the part's own slot, where the decision makes it `unknown`, and no other slot."""
    told = run(bench, tmp_path, COMPARING, batch=3, parts=200)
    assert (told.wrong, told.right, told.not_numbers) == ([], 200, 4)


def test_masters_that_were_let_go_make_room_without_a_wait(bench: Machine, tmp_path: Path) -> None:
    """With a cache for one view of nine, memory is allocated for the parts in flight and then used again."""
    told = run(bench, tmp_path, COMPARING, views=9, lanes=2, masters_kept=1)
    assert told.grown["frees_while_busy"] == 0
    assert told.grown["allocations"] <= 3
    assert told.live == {}


def test_the_next_input_is_on_its_way_before_a_result_is_waited_for(bench: Machine, tmp_path: Path) -> None:
    """When the line waits for a lane, the inputs of all other lanes are queued already."""
    trace = tmp_path / "trace"
    run(bench.having(FAKE_CUDA_TRACE=trace), tmp_path, lanes=3, parts=30)
    queued, ahead = 0, []
    lines = trace.read_text().splitlines()
    warm = max(number for number, line in enumerate(lines) if line.startswith("synchronize-stream"))
    for line in lines[warm:]:
        queued += line.startswith("HtoD")
        if line.startswith("synchronize-event"):
            ahead.append(queued - len(ahead))
    assert ahead == [3] * 28 + [2, 1]


def integrated(bench: Machine, *, copying: bool) -> Machine:
    """A GPU that shares its memory with the CPU; `copying`: it copies sooner than its kernels read."""
    read, copied = (1, 0.01) if copying else (0.01, 1)
    costs = f"host_read_byte={read},copy_in_byte={copied}"
    return bench.having(FAKE_CUDA_INTEGRATED=1, FAKE_CUDA_COSTS=costs)


@pytest.mark.parametrize("judges", [1, 2])
def test_a_gpu_that_reads_host_memory_slowly_copies_the_region_first(
    bench: Machine, tmp_path: Path, judges: int
) -> None:
    """So each byte of it is read once, by the copy, and never by the kernel. Both ways give the same pixels."""
    asked = {"frames": True, "judges": judges, "warms": True, "parts": 100}
    told = run(integrated(bench, copying=True), tmp_path, **asked)
    assert (told.error, told.wrong, told.right) == ("", [], 100)
    assert told.grown["registered_to_device_bytes"] == told.read_bytes
    assert told.grown["host_bytes_read_by_kernels"] == 0
    in_place = run(integrated(bench, copying=False), tmp_path, **asked)
    assert (in_place.error, in_place.wrong, in_place.right) == ("", [], 100)
    assert in_place.grown["registered_to_device_bytes"] == 0
    assert in_place.grown["host_bytes_read_by_kernels"] > 100 * PIXELS // 2


@pytest.mark.parametrize("kind", [JUDGING, COMPARING])
@pytest.mark.parametrize("uncapturable", [False, True], ids=["graph", "no graph"])
def test_a_gpu_that_shares_its_memory_reads_pictures_where_they_are_if_no_graph_does(
    bench: Machine, tmp_path: Path, kind: str, uncapturable: bool
) -> None:
    """A graph reads one place, so on a Jetson each picture is copied there; other runs read it in its slot."""
    here = integrated(bench, copying=False)
    told = run(here, tmp_path, kind, plan={"uncapturable": uncapturable})
    assert (told.error, told.wrong, told.right) == ("", [], 1000)
    assert told.grown["host_to_device_bytes"] == (
        (3 * PIXELS if kind == COMPARING else 0) + (0 if uncapturable else 1000 * PIXELS)
    )
    assert told.grown["graph_launches"] == (0 if uncapturable else 1000)
    assert told.live == {}


def test_a_gpu_that_shares_its_memory_warps_frames_where_they_are(bench: Machine, tmp_path: Path) -> None:
    """On a Jetson no frame is copied if its GPU reads the slot as fast. The warm-up has copied the masks."""
    told = run(integrated(bench, copying=False), tmp_path, COMPARING, frames=True, warms=True)
    assert (told.error, told.wrong, told.right) == ("", [], 1000)
    assert told.grown["host_to_device_bytes"] == 2 * PIXELS  # masters; the warm-up has one more
    assert told.live == {}


@pytest.mark.parametrize(("kind", "batch"), [(JUDGING, 1), (JUDGING, 4), (COMPARING, 1), (COMPARING, 3)])
@pytest.mark.parametrize("order", ["late", "shuffled"])
def test_a_part_s_network_is_launched_by_one_call(
    bench: Machine, tmp_path: Path, kind: str, batch: int, order: str
) -> None:
    """Each batch is one launch of a graph of its size, and no part is the first to run anything."""
    told = run(bench.having(**ORDERS[order]), tmp_path, kind, batch=batch, parts=200, views=1)
    assert (told.error, told.wrong, told.right) == ("", [], 200)
    of_a_master = int(kind == COMPARING)
    assert told.grown["graph_launches"] == told.calls["cuEventSynchronize"] - of_a_master
    assert told.grown["launches"] == {JUDGING: 0, COMPARING: 4}[kind]  # of its features
    if kind == JUDGING:
        assert [told.grown[name] for name in ("first_launches", "allocations", "host_allocations")] == [0] * 3
    assert told.live == {}


SIX = ("MemcpyDtoHAsync_v2", "LaunchKernel", "GraphLaunch", "EventRecord", "EventSynchronize")


@pytest.mark.parametrize("frames", [True, False])
def test_a_part_takes_six_calls_of_the_driver(bench: Machine, tmp_path: Path, frames: bool) -> None:
    """Copy in, warp, network, copy out, the event's record and the wait for it; no warp for a picture."""
    told = run(bench, tmp_path, parts=100, frames=frames, warms=True)
    assert (told.error, told.wrong, told.right) == ("", [], 100)
    copied = "Memcpy2DAsync_v2" if frames else "MemcpyHtoDAsync_v2"
    assert told.calls == {f"cu{name}": 100 for name in (copied, *SIX) if frames or name != "LaunchKernel"}


@pytest.mark.parametrize(("views", "copies"), [(1, 2), (3, 200)], ids=["one view", "views in turn"])
def test_a_master_s_features_are_copied_to_a_lane_once_and_by_one_call(
    bench: Machine, tmp_path: Path, views: int, copies: int
) -> None:
    """A graph reads one place, so a lane copies the features there, unless they are those of its last part."""
    told = run(bench, tmp_path, COMPARING, parts=200, views=views)
    assert (told.error, told.wrong, told.right) == ("", [], 200)
    assert 1 <= told.calls["cuMemcpyDtoDAsync_v2"] <= copies


def test_a_network_that_cannot_be_recorded_runs_all_the_same(bench: Machine, tmp_path: Path) -> None:
    """Its kernels are launched one by one, with the same results."""
    told = run(bench, tmp_path, COMPARING, batch=3, plan={"uncapturable": True})
    assert (told.error, told.wrong, told.right) == ("", [], 1000)
    assert told.grown["graph_launches"] == 0
    assert told.live == {}


@pytest.mark.parametrize("frames", [False, True])
def test_a_gpu_that_cannot_pin_the_ring_judges_all_the_same(
    bench: Machine, tmp_path: Path, frames: bool
) -> None:
    """Some integrated GPUs cannot pin it; each picture is copied once more, and no lane waits for another."""
    here = bench.having(FAKE_CUDA_CANNOT_REGISTER=1, FAKE_CUDA_INTEGRATED=1)
    told = run(here, tmp_path, COMPARING, frames=frames)
    assert (told.error, told.wrong, told.right) == ("", [], 1000)
    assert told.grown["context_synchronisations"] == 0


@pytest.mark.parametrize("lose_after", [100, 101, 102])
@pytest.mark.parametrize("integrated", [False, True], ids=["card", "integrated"])
@pytest.mark.parametrize("order", ["late", "at once"])
def test_a_lost_device_ends_the_engine_and_no_part_gets_a_result_after_it(
    bench: Machine, tmp_path: Path, order: str, integrated: bool, lose_after: int
) -> None:
    """The engine raises EngineLost, whether the loss shows in a wait or when a part is queued."""
    here = bench.having(**ORDERS[order], **({"FAKE_CUDA_INTEGRATED": 1} if integrated else {}))
    told = run(here, tmp_path, parts=60, lose_after=lose_after)
    assert told.error.startswith("EngineLost: ")
    assert (told.wrong, told.unknown) == ([], {})
    assert 0 < told.right < 60
    assert told.in_flight in (1, 2)


def test_an_engine_that_does_not_fit_the_memory_says_so(bench: Machine, tmp_path: Path) -> None:
    """Too little scratch memory is an error at the start, which says how much is free and what to do."""
    told = run(bench.having(FAKE_CUDA_MEMORY_MB=16), tmp_path, plan={"scratch_bytes": 9 << 20})
    assert told.error.startswith("EngineError: judge.fp32.fake.engine needs 9 MiB of scratch memory for a lane")
    assert "of 16 MiB are free" in told.error
    assert told.live == {}


def test_lanes_that_do_not_fit_the_memory_say_so(bench: Machine, tmp_path: Path) -> None:
    """Too little memory for buffers is an error at the start, and what was allocated is freed."""
    told = run(bench.having(FAKE_CUDA_MEMORY_MB=1), tmp_path, batch=32, lanes=8)
    assert told.error.startswith("EngineError: ")
    assert "of 1 MiB are free" in told.error
    assert "allocations" not in told.live


def test_a_master_that_does_not_fit_costs_its_own_parts_alone(bench: Machine, tmp_path: Path) -> None:
    """Parts of further views are refused with the reason; parts whose masters fit are still judged."""
    here = bench.having(FAKE_CUDA_MEMORY_MB=1)
    told = run(here, tmp_path, COMPARING, parts=300, views=3000, masters_kept=3000)
    assert (told.error, told.wrong) == ("", [])
    assert told.right > 50
    assert told.unknown
    assert told.right + len(told.unknown) == 300
    assert all("memory does not suffice" in why for why in told.unknown.values())


@pytest.mark.parametrize("order", ["late", "shuffled"])
def test_an_engine_is_left_with_parts_in_flight(bench: Machine, tmp_path: Path, order: str) -> None:
    """A stage that stops frees all memory, whatever its lanes were doing."""
    told = run(bench.having(**ORDERS[order]), tmp_path, COMPARING, batch=3, lanes=3, stop_after=50)
    assert (told.error, told.wrong, told.live) == ("", [], {})
    assert told.in_flight >= 3


def test_a_wait_for_the_gpu_leaves_the_core_to_others(bench: Machine) -> None:
    """Infer has real-time priority, so a wait that spins would stop every other process on its core."""
    script = """
        from edge.engines.cuda import open_device

        def spun():
            cuda.Stream().synchronize()
            cuda.Context.synchronize()
            return fake.count("spinning_waits")

        said["by default"] = spun()
        with open_device():
            said["on a line"] = spun()
    """
    assert bench.says(script) == {"by default": 2, "on a line": 2}


LANE = """
    from edge.engines.cuda import Device, Pinned
    from edge.engines.base import Sample
    from edge.engines.lanes import Binding, Lane
    from edge.errors import EngineLost

    class Copying:
        def enqueue(self, count, addresses, stream):
            cuda.memcpy_dtod_async(addresses["map"], addresses["image"], 16, stream)

    here = Device(**{**dict.fromkeys(Device.__dataclass_fields__), "integrated": False})
    image = Binding(shape=(1, 1, 1, 16), dtype=np.dtype(np.uint8))
    output = Binding(shape=(1, 1, 1, 4), dtype=np.dtype(np.float32))
    lane = Lane(Copying(), Pinned(here), image=image, features={}, outputs={"map": output}, batch=1, warp=None)
    picture = np.arange(16, dtype=np.uint8).reshape(1, 1, 1, 16)
    lane.submit([Sample(picture)])
"""


def test_a_lane_is_ready_when_its_event_is_reached(bench: Machine) -> None:
    """Not before: the input, the network and the output are queued, and each takes its time."""
    told = bench.says(
        LANE
        + """
    asked = [lane.ready()]
    waits = fake.count("event_synchronisations")
    while not asked[-1]:
        asked.append(lane.ready())
    said["asked"] = asked
    said["waits"] = fake.count("event_synchronisations") - waits
    said["right"] = lane.collect()[0]["map"].tobytes() == picture.tobytes()
    """
    )
    assert told == {"asked": [False, False, False, True], "waits": 0, "right": True}


def test_a_lane_whose_device_is_lost_is_ready_to_say_so(bench: Machine) -> None:
    """`collect` raises the error, as it does where nobody asked before."""
    told = bench.says(
        LANE
        + """
    fake.lose_device(1)
    said["asked"] = [lane.ready() for _ in range(3)]
    try:
        lane.collect()
    except EngineLost as error:
        said["error"] = str(error)
    """
    )
    assert told["asked"] == [False, True, True]
    assert told["error"].startswith("judging a part: the GPU does not answer")


@pytest.fixture
def frames(tmp_path: Path) -> np.ndarray:
    """Twenty frames of noise, `(20, 64, 64)` uint8, also written to `frames/`."""
    frames = np.random.default_rng(0).integers(0, 255, (20, 64, 64), np.uint8)
    (tmp_path / "frames").mkdir()
    for number, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / f"frames/{number:02}.a.png"), frame)
    return frames


def line_of(folder: Path, more: str = "") -> Path:
    """Write the recipe of a line that judges `frames/` by TensorRT; about half of them exceed the threshold."""
    bundle = write_anomaly(folder / "bundle")
    promise_answers(bundle, THRESHOLD)
    write_engines(bundle, batch=2, kernels=True)
    source = 'kind = "folder"\nfiles = "frames/*.{view}.png"\nwidth = 64\nheight = 64\nfps = 40\n' + more
    return write_recipe(folder, bundle, source, '[engine]\nkind = "tensorrt"\n[timing]\ndeadline_ms = 5000')


def score_of(frame: np.ndarray) -> float:
    return float(answer({"image": frame}, {"score": (1,)})["score"][0])


@pytest.mark.parametrize("order", ["late", "shuffled"])
def test_a_line_judges_every_part_on_the_gpu(
    bench: Machine, tmp_path: Path, frames: np.ndarray, order: str
) -> None:
    """`edge run` with TensorRT: from the frame in shared memory, warped by the GPU, to the right verdict."""
    here = bench.having(**ORDERS[order]).environment()
    with Subscriber(tmp_path) as subscriber, running(line_of(tmp_path), **here) as line:
        status, said = line.wait()
        until(lambda: len(subscriber.verdicts) >= len(frames), "the last verdict is heard")
    assert status == 0, said
    scores = [score_of(frame) for frame in frames]
    assert [verdict.score for _, verdict in subscriber.verdicts] == scores
    expected = ["reject" if score >= THRESHOLD else "pass" for score in scores]
    assert [verdict.verdict for _, verdict in subscriber.verdicts] == expected
    assert set(expected) == {"reject", "pass"}


def test_a_gpu_without_room_for_the_frames_is_refused_before_a_part_comes(
    bench: Machine, tmp_path: Path
) -> None:
    """The engine itself fits. That two lanes of two frames do not, shows when infer warms up."""
    (tmp_path / "frames").mkdir()
    cv2.imwrite(str(tmp_path / "frames/0.a.png"), np.zeros((1024, 1024), np.uint8))
    bundle = write_anomaly(tmp_path / "bundle")
    promise_answers(bundle, THRESHOLD)
    write_engines(bundle, batch=2, kernels=True)
    source = 'kind = "folder"\nfiles = "frames/*.{view}.png"\nwidth = 1024\nheight = 1024\nfps = 40'
    recipe = write_recipe(tmp_path, bundle, source, '[engine]\nkind = "tensorrt"')
    with running(recipe, **bench.having(FAKE_CUDA_MEMORY_MB=4).environment()) as line:
        status, said = line.wait()
    assert status != 0
    assert "the GPU's memory does not suffice" in said
    with running(recipe, **bench.having(FAKE_CUDA_MEMORY_MB=8).environment()) as line:
        assert line.wait()[0] == 0


@pytest.mark.parametrize("kernels", [True, False])
def test_a_part_is_cut_into_tiles_for_the_gpu(bench: Machine, tmp_path: Path, kernels: bool) -> None:
    """Its tiles are one batch, warped by the GPU or cut by the CPU, and the highest score counts."""
    grid = Grid(3, 2, 64, 64)
    frames = np.random.default_rng(0).integers(0, 255, (8, *grid.size), np.uint8)
    (tmp_path / "frames").mkdir()
    for number, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / f"frames/{number:02}.a.png"), frame)
    bundle = write_anomaly(tmp_path / "bundle")
    promise_answers(bundle, THRESHOLD)
    write_engines(bundle, batch=6, kernels=kernels)
    height, width = grid.size
    source = f'kind = "folder"\nfiles = "frames/*.{{view}}.png"\nwidth = {width}\nheight = {height}\nfps = 20'
    section = judge("odd", bundle, tiles=[3, 2]) + f"thresholds = {{ anomaly = {1.6 * THRESHOLD} }}\n"
    more = section + '[engine]\nkind = "tensorrt"\n[timing]\ndeadline_ms = 5000'
    with (
        Subscriber(tmp_path) as subscriber,
        running(write_recipe(tmp_path, None, source, more), **bench.environment()) as line,
    ):
        status, said = line.wait()
        until(lambda: len(subscriber.verdicts) >= len(frames), "the last verdict is heard")
    assert status == 0, said
    scores = [max(score_of(tile) for tile in grid.cut(frame)) for frame in frames]
    assert [verdict.score for _, verdict in subscriber.verdicts] == scores


def test_a_line_goes_on_with_a_new_process_after_its_device_was_lost(
    bench: Machine, tmp_path: Path, frames: np.ndarray
) -> None:
    """Parts in flight become `unknown`, infer is started anew, and each part has its own score."""
    here = bench.having(FAKE_CUDA_LOSE_AFTER=400).environment()
    with Subscriber(tmp_path) as subscriber, running(line_of(tmp_path, "repeat = true"), **here) as line:
        until(judged(subscriber, 10), "parts are judged", line)
        first = line.pid("infer")
        until(lambda: line.pid("infer") != first, "infer is back", line)
        until(judged(subscriber, 10), "parts are judged again", line)
        said = stop(line)
    assert "the GPU does not answer" in said
    for _, verdict in subscriber.verdicts:
        if verdict.verdict != "unknown":
            assert verdict.score == score_of(frames[(verdict.sequence - 1) % len(frames)])
