"""The fake CUDA driver under real pycuda: work runs as late as a GPU may run it, and waste is counted."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_gpu.machine import Machine

TWO_LANES = """
    streams, events = [cuda.Stream(), cuda.Stream()], [cuda.Event(), cuda.Event()]
    sent, got, memory = [pinned(0), pinned(0)], [pinned(9), pinned(9)], [on_device(0), on_device(0)]

    def start(part, lane):
        sent[lane][0] = part
        cuda.memcpy_htod_async(memory[lane], sent[lane], streams[lane])
        cuda.memcpy_dtoh_async(got[lane], memory[lane], streams[lane])
        events[lane].record(streams[lane])

    read = []
    for part in range(6):
        if part >= 2:
            {wait}
            read.append(int(got[part % 2][0]))
        start(part, part % 2)
    said["read"] = read
"""


def test_with_a_wait_each_part_is_read_and_without_it_is_not(bench: Machine) -> None:
    """Two lanes that wait for their events read 0, 1, 2, 3; without the wait nothing has arrived yet."""
    waiting = TWO_LANES.format(wait="events[part % 2].synchronize()")
    assert bench.says(waiting) == {"read": [0, 1, 2, 3]}
    assert bench.says(TWO_LANES.format(wait="pass")) == {"read": [9, 9, 9, 9]}
    assert bench.having(FAKE_CUDA_EAGER=1).says(TWO_LANES.format(wait="pass")) == {"read": [0, 1, 2, 3]}


def test_only_pinned_memory_is_copied_without_a_wait(bench: Machine) -> None:
    """Pinned memory is read when the copy runs, other memory at once; a copy into other memory waits."""
    script = """
        stream, memory = cuda.Stream(), on_device(0)
        for name, source in (("pinned", pinned(1)), ("pageable", np.array([1], np.int32))):
            got = pinned(9)
            before = fake.count("pageable_to_device_bytes")
            cuda.memcpy_htod_async(memory, source, stream)
            source[0] = 2
            cuda.memcpy_dtoh_async(got, memory, stream)
            stream.synchronize()
            said[name] = [int(got[0]), fake.count("pageable_to_device_bytes") - before]
        got = np.zeros(1, np.int32)
        cuda.memcpy_dtoh_async(got, on_device(7), stream)
        said["out"] = [int(got[0]), fake.count("device_to_pageable_bytes")]
    """
    assert bench.says(script) == {"pinned": [2, 0], "pageable": [1, 4], "out": [7, 4]}


def test_shared_memory_can_be_pinned_once(bench: Machine) -> None:
    """Mapped pages are pinned once they are registered; a second time, or from mid-page, registration fails."""
    script = """
        import ctypes, mmap
        driver = ctypes.CDLL("libcuda.so.1")
        pages = np.frombuffer(mmap.mmap(-1, 8192), np.uint8)
        stream, memory = cuda.Stream(), cuda.mem_alloc(4096)

        def pageable():
            before = fake.count("pageable_to_device_bytes")
            cuda.memcpy_htod_async(memory, pages[4096:], stream)
            return fake.count("pageable_to_device_bytes") - before

        def register(array):
            start, nbytes = ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)
            return driver.cuMemHostRegister_v2(start, nbytes, 0)

        said["before"] = pageable()
        said["register"] = [register(pages[16:]), register(pages), register(pages[4096:])]
        said["registered"], said["live"] = pageable(), fake.live()["registrations"]
        said["unregister"] = [driver.cuMemHostUnregister(ctypes.c_void_p(pages.ctypes.data)) for _ in range(2)]
        said["after"] = pageable()
    """
    invalid, twice, unknown = 1, 712, 713  # CUDA's numbers of these errors
    assert bench.says(script) == {
        "before": 4096,
        "register": [invalid, 0, twice],
        "registered": 0,
        "live": 1,
        "unregister": [0, unknown],
        "after": 4096,
    }


@pytest.mark.parametrize(
    ("queued_on", "counted"), [("first", 0), ("None", 1)], ids=["stream", "default stream"]
)
def test_no_stream_waits_for_another(bench: Machine, queued_on: str, counted: int) -> None:
    """A forgotten stream argument gives a wrong result, and work on the default stream is counted."""
    script = f"""
        first, second = cuda.Stream(), cuda.Stream()
        memory, sent, got = on_device(0), pinned(5), pinned(9)
        before = fake.count("default_stream_work")
        cuda.memcpy_htod_async(memory, sent, {queued_on})
        said["counted"] = fake.count("default_stream_work") - before
        cuda.memcpy_dtoh_async(got, memory, second)
        second.synchronize()
        said["read"] = int(got[0])
    """
    assert bench.says(script) == {"counted": counted, "read": 0}


def test_shuffled_streams_show_a_buffer_that_is_overwritten_too_early(bench: Machine) -> None:
    """A shuffled order shows a fault that late streams hide."""
    script = """
        first, second, memory = cuda.Stream(), cuda.Stream(), on_device(0)
        read, got, sent, other = [], pinned(0), pinned(0), pinned(99)
        for part in range(20):
            sent[0] = part
            cuda.memcpy_htod_async(memory, sent, first)
            cuda.memcpy_dtoh_async(got, memory, first)
            cuda.memcpy_htod_async(memory, other, second)
            first.synchronize()
            read.append(int(got[0]))
        said["right"] = read == list(range(20))
    """
    assert bench.says(script) == {"right": True}
    assert bench.having(FAKE_CUDA_SHUFFLE=1).says(script) == {"right": False}


def test_a_lost_device_fails_every_later_call(bench: Machine) -> None:
    """Once the device is lost, every wait, copy and allocation fails, for good."""
    script = """
        stream, memory, got = cuda.Stream(), on_device(1), pinned(9)

        def outcome(call):
            try:
                call()
            except cuda.Error as error:
                return f"{type(error).__name__}: {error}"

        sent = pinned(2)
        fake.lose_device(after_operations=1)
        cuda.memcpy_htod_async(memory, sent, stream)
        cuda.memcpy_dtoh_async(got, memory, stream)
        said["wait"] = outcome(stream.synchronize)
        said["copy"] = outcome(lambda: cuda.memcpy_dtoh_async(got, memory, stream))
        said["take"] = outcome(lambda: cuda.mem_alloc(4))
        said["read"] = int(got[0])
    """
    assert bench.says(script) == {
        "wait": "LaunchError: cuStreamSynchronize failed: unspecified launch failure",
        "copy": "LaunchError: cuMemcpyDtoHAsync failed: unspecified launch failure",
        "take": "LaunchError: cuMemAlloc failed: unspecified launch failure",
        "read": 9,
    }


def test_the_device_has_only_so_much_memory(bench: Machine) -> None:
    """An allocation that does not fit raises the error of a full GPU."""
    script = """
        held = cuda.mem_alloc(3 << 20)
        said["left"] = [part >> 20 for part in cuda.mem_get_info()]
        try:
            cuda.mem_alloc(2 << 20)
        except cuda.MemoryError as error:
            said["error"] = str(error)
    """
    assert bench.having(FAKE_CUDA_MEMORY_MB=4).says(script) == {
        "left": [1, 4],
        "error": "cuMemAlloc failed: out of memory",
    }


def test_what_is_not_given_back_is_counted(bench: Machine) -> None:
    """Memory, streams, events and modules are counted while they are held."""
    script = """
        def use():
            held = [cuda.mem_alloc(4), pinned(1), cuda.Stream(), cuda.Event()]
            held.append(cuda.module_from_buffer(b".version 8.0"))
            said["held"] = fake.live()

        use()
        said["left"] = fake.live()
    """
    assert bench.says(script) == {
        "held": dict.fromkeys(
            ("allocations", "host_allocations", "streams", "events", "modules", "contexts"), 1
        ),
        "left": {"contexts": 1},
    }


def test_a_kernel_gets_the_parameters_that_it_was_launched_with(bench: Machine) -> None:
    """Prepared and plain calls both copy the parameters at the launch; a wrong number of them is refused."""
    script = """
        stream, source, target = cuda.Stream(), on_device(5), on_device(0)
        copy = cuda.module_from_buffer(b".version 8.0").get_function("copy")
        for name in ("prepared", "plain"):
            got, bytes_ = pinned(0), np.int32(4)
            if name == "prepared":
                copy.prepare("PPi").prepared_async_call((1, 1), (1, 1, 1), stream, target, source, 4)
            else:
                copy(target, source, bytes_, block=(1, 1, 1), grid=(1, 1), stream=stream)
            cuda.memcpy_dtoh_async(got, target, stream)
            stream.synchronize()
            said[name] = int(got[0])
        try:
            copy.prepare("PP").prepared_async_call((1, 1), (1, 1, 1), stream, target, source)
        except cuda.Error as error:
            said["short"] = str(error)
    """
    assert bench.says(script) == {"prepared": 5, "plain": 5, "short": "cuLaunchKernel failed: invalid argument"}


def test_a_kernel_that_leaves_the_device_s_memory_loses_the_device(bench: Machine) -> None:
    """A kernel reaches host memory only if it is pinned and its device pointer was asked for."""
    script = """
        def copied_from(address):
            stream, target = cuda.Stream(), on_device(0)
            copy = cuda.module_from_buffer(b".version 8.0").get_function("copy").prepare("PPi")
            copy.prepared_async_call((1, 1), (1, 1, 1), stream, target, address, 4)
            try:
                stream.synchronize()
            except cuda.Error as error:
                return str(error)

        host = pinned(1)
        said["mapped"] = copied_from(int(host.base.get_device_pointer()))
        said["host"] = copied_from(pinned(1).ctypes.data)
    """
    error = "cuStreamSynchronize failed: an illegal memory access was encountered"
    assert bench.says(script) == {"mapped": None, "host": error}


def test_the_trace_tells_in_which_order_work_was_queued(bench: Machine, tmp_path: Path) -> None:
    """A test can check that one lane's input was queued before another lane was waited for."""
    script = """
        streams, event, memory = [cuda.Stream(), cuda.Stream()], cuda.Event(), cuda.mem_alloc(4)
        sent = pinned(1)
        for stream in streams:
            cuda.memcpy_htod_async(memory, sent, stream)
        event.record(streams[0])
        event.synchronize()
    """
    bench.having(FAKE_CUDA_TRACE=tmp_path / "trace").says(script)
    assert (tmp_path / "trace").read_text().splitlines() == [
        "HtoD 1 4",
        "HtoD 2 4",
        "record-event 1 ",
        "synchronize-event 1 ",
    ]


def test_an_event_tells_the_time_unless_it_was_made_without(bench: Machine) -> None:
    """The benchmark of a GPU measures with events: times rise in the order of the work."""
    script = """
        stream, memory, sent = cuda.Stream(), on_device(0), pinned(1)
        events = [cuda.Event() for _ in range(2)]
        events[0].record(stream)
        cuda.memcpy_htod_async(memory, sent, stream)
        events[1].record(stream)
        stream.synchronize()
        said["rises"] = events[0].time_till(events[1]) >= 0
        untimed = cuda.Event(cuda.event_flags.DISABLE_TIMING).record(stream).synchronize()
        try:
            untimed.time_since(events[0])
        except cuda.Error as error:
            said["untimed"] = str(error)
    """
    assert bench.says(script) == {
        "rises": True,
        "untimed": "cuEventElapsedTime failed: invalid resource handle",
    }
