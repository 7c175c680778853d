"""The fake driver's virtual time: engines of the device work side by side, and waits let the clock run."""

from __future__ import annotations

import pytest
from fake_gpu.machine import Machine

# Copies of 4 bytes take 100 ns and kernels 100 ns; `start` queues a part on a lane, `done` waits for it.
LANES = """
    fake.set_costs(copy_in=100, copy_out=0, kernel__copy=100)
    streams, events = [cuda.Stream(), cuda.Stream()], [cuda.Event(), cuda.Event()]
    copy = cuda.module_from_buffer(b".version 8.0").get_function("copy").prepare("PPi")
    sent, got = [pinned(0), pinned(0)], [pinned(9), pinned(9)]
    ins, outs = [on_device(0), on_device(0)], [on_device(0), on_device(0)]

    def start(part, lane):
        sent[lane][0] = part
        cuda.memcpy_htod_async(ins[lane], sent[lane], streams[lane])
        copy.prepared_async_call((1, 1), (1, 1, 1), streams[lane], outs[lane], ins[lane], 4)
        cuda.memcpy_dtoh_async(got[lane], outs[lane], streams[lane])
        events[lane].record(streams[lane])

    def done(lane):
        events[lane].synchronize()
        return int(got[lane][0])

    begin = fake.now_ns()
"""


@pytest.mark.parametrize(("lanes", "took_ns"), [(1, 2000), (2, 1100)], ids=["one lane", "two lanes"])
def test_one_lane_copies_while_another_computes(bench: Machine, lanes: int, took_ns: int) -> None:
    """Of ten parts whose copy takes as long as their kernel, two lanes hide all copies but the first."""
    script = f"""{LANES}
    read = []
    for part in range(10):
        if part >= {lanes}:
            read.append(done(part % {lanes}))
        start(part, part % {lanes})
    read += [done(part % {lanes}) for part in range(10 - {lanes}, 10)]
    said["read"], said["took_ns"] = read, fake.now_ns() - begin
    """
    assert bench.says(script) == {"read": list(range(10)), "took_ns": took_ns}


def test_an_event_is_reached_at_its_instant_and_not_before(bench: Machine) -> None:
    """Until the host's clock shows that instant the event is not ready and nothing has arrived."""
    script = f"""{LANES}
    start(7, 0)
    said["before"] = []
    for instant in (0, 99, 199, 200):
        fake.advance_to(begin + instant)
        said["before"].append([events[0].query(), int(got[0][0])])
    said["after"] = [done(0), fake.now_ns() - begin]
    """
    assert bench.says(script) == {
        "before": [[False, 9], [False, 9], [False, 9], [True, 7]],
        "after": [7, 200],
    }


@pytest.mark.parametrize(("arrives_ns", "took_ns"), [(50, 250), (500, 200)], ids=["while busy", "while idle"])
def test_parts_arrive_when_the_test_says_so(bench: Machine, arrives_ns: int, took_ns: int) -> None:
    """A part that comes while the device copies and computes another waits for both; a later one does not."""
    script = f"""{LANES}
    start(1, 0)
    fake.advance_to(begin + {arrives_ns})
    start(2, 1)
    said["read"], said["took_ns"] = done(1), fake.now_ns() - begin - {arrives_ns}
    """
    assert bench.says(script) == {"read": 2, "took_ns": took_ns}


def test_a_stream_waits_for_an_event_of_another(bench: Machine) -> None:
    """What is queued behind the wait starts when the event is reached, in virtual time and in any order."""
    script = """
        fake.set_costs(copy_in=100, copy_out=10) if {timed} else None
        streams, event = [cuda.Stream(), cuda.Stream()], cuda.Event()
        sent, got, memory = pinned(5), pinned(9), on_device(0)
        begin = fake.now_ns()
        cuda.memcpy_htod_async(memory, sent, streams[0])
        event.record(streams[0])
        if {waits}:
            streams[1].wait_for_event(event)
        cuda.memcpy_dtoh_async(got, memory, streams[1])
        streams[1].synchronize()
        said["read"], said["took_ns"] = int(got[0]), fake.now_ns() - begin
    """
    assert bench.says(script.format(timed=True, waits=True)) == {"read": 5, "took_ns": 110}
    assert bench.says(script.format(timed=True, waits=False)) == {"read": 0, "took_ns": 10}
    assert bench.says(script.format(timed=False, waits=True))["read"] == 5
    assert bench.says(script.format(timed=False, waits=False))["read"] == 0


def test_calls_of_the_driver_are_counted_and_cost_the_host_time(bench: Machine) -> None:
    """Each is counted under its function's name; one function's cost is set apart from the others'."""
    script = """
        stream, event, sent, memory = cuda.Stream(), cuda.Event(), pinned(1), on_device(0)
        fake.set_costs(call=10, call__cuEventRecord=1000)
        before, begin = fake.calls(), fake.now_ns()
        for _ in range(3):
            cuda.memcpy_htod_async(memory, sent, stream)
        event.record(stream)
        event.synchronize()
        after = fake.calls()
        said["calls"] = {name: after[name] - before.get(name, 0) for name in after}
        said["calls"] = {name: number for name, number in said["calls"].items() if number}
        said["took_ns"] = fake.now_ns() - begin
    """
    calls = {"cuMemcpyHtoDAsync_v2": 3, "cuEventRecord": 1, "cuEventSynchronize": 1}
    assert bench.says(script) == {"calls": calls, "took_ns": 3 * 10 + 1000 + 10}


def test_the_first_launch_of_a_function_costs_more(bench: Machine) -> None:
    """So a part that pays for what should have been run before shows."""
    script = """
        fake.set_costs(first_launch=500)
        stream, source, target = cuda.Stream(), on_device(5), on_device(0)
        copy = cuda.module_from_buffer(b".version 8.0").get_function("copy").prepare("PPi")
        said["took_ns"], said["first"] = [], []
        for _ in range(2):
            begin, before = fake.now_ns(), fake.count("first_launches")
            copy.prepared_async_call((1, 1), (1, 1, 1), stream, target, source, 4)
            said["took_ns"].append(fake.now_ns() - begin)
            said["first"].append(fake.count("first_launches") - before)
    """
    assert bench.says(script) == {"took_ns": [500, 0], "first": [1, 0]}


def test_each_access_of_a_kernel_to_the_host_s_memory_is_counted(bench: Machine) -> None:
    """A warp onto whole pixels reads each pixel once; half a pixel beside, it reads each four times."""
    script = """
        from edge.image.warp import Warper
        from edge.manifest import InputSpec

        stream, out = cuda.Stream(), cuda.mem_alloc(4096)
        warp = cuda.module_from_buffer(b".version 8.0").get_function("warp")
        frame = cuda.pagelocked_zeros((64, 64), np.uint8, mem_flags=cuda.host_alloc_flags.DEVICEMAP)
        mapped = np.uintp(frame.base.get_device_pointer())
        copied = np.uintp(int(cuda.mem_alloc(4096)))
        warper = Warper(None, InputSpec(height=64, width=64))
        for name, where, shift in (("whole", mapped, 0), ("half", mapped, 0.5), ("copied", copied, 0)):
            how = warper.warp(frame.shape, np.array([[1.0, 0, shift], [0, 1, shift]]))
            places = (where, np.uintp(0), np.uintp(0), np.uintp(int(out)))
            before = fake.count("host_bytes_read_by_kernels")
            warp(*places, *how.arguments(), grid=how.grid[:2], block=how.block, stream=stream)
            stream.synchronize()
            said[name] = fake.count("host_bytes_read_by_kernels") - before
        said["written"] = fake.count("host_bytes_written_by_kernels")
    """
    pixels = 64 * 64
    told = bench.says(script)
    assert (told["whole"], told["copied"], told["written"]) == (pixels, 0, 0)
    assert 3.5 * pixels < told["half"] <= 4 * pixels


def test_rows_are_copied_by_one_call(bench: Machine) -> None:
    """A copy of rows moves the bytes of the rows alone, from one pitch to another."""
    script = """
        stream, memory = cuda.Stream(), on_device(*[0] * 6)
        frame, got = pinned(*range(20)), pinned(*[9] * 6)
        rows = cuda.Memcpy2D()
        rows.set_src_host(frame.reshape(4, 5))
        rows.src_x_in_bytes, rows.src_y, rows.src_pitch = 4, 1, 20
        rows.set_dst_device(memory)
        rows.dst_pitch, rows.width_in_bytes, rows.height = 12, 12, 2
        before = fake.count("host_to_device_bytes")
        rows(stream)
        frame[6] = 66  # pinned memory is read when the copy runs
        cuda.memcpy_dtoh_async(got, memory, stream)
        stream.synchronize()
        said["read"], said["bytes"] = got.tolist(), fake.count("host_to_device_bytes") - before
    """
    assert bench.says(script) == {"read": [66, 7, 8, 11, 12, 13], "bytes": 24}
