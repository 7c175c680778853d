"""The fake driver's CUDA graphs: what a capture records, what a launch runs, and what a capture forbids."""

from __future__ import annotations

from fake_gpu.machine import Machine

# `capture(queue, mode)` returns the error of the call that failed first, and a graph to launch if none did.
CAPTURE = """
    import ctypes
    driver = ctypes.CDLL("libcuda.so.1")
    GLOBAL, THREAD_LOCAL, RELAXED = 0, 1, 2
    stream = cuda.Stream(1)
    handle = ctypes.c_void_p(stream.handle)

    def capture(queue, mode=GLOBAL, on=handle):
        graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
        began = driver.cuStreamBeginCapture_v2(on, mode)
        if began:
            return began, None
        queue()
        ended = driver.cuStreamEndCapture(on, ctypes.byref(graph))
        if ended:
            return ended, None
        made = driver.cuGraphInstantiateWithFlags(ctypes.byref(executable), graph, ctypes.c_ulonglong(0))
        driver.cuGraphDestroy(graph)
        return made, executable

    def launch(executable):
        return driver.cuGraphLaunch(executable, handle)

    sent, got, memory = pinned(1), pinned(9), on_device(0)

    def there_and_back():
        cuda.memcpy_htod_async(memory, sent, stream)
        cuda.memcpy_dtoh_async(got, memory, stream)
"""
UNSUPPORTED, INVALIDATED, IMPLICIT, CAPTURED_EVENT = 900, 901, 906, 907  # CUDA's numbers of these errors


def test_captured_work_runs_when_it_is_launched(bench: Machine) -> None:
    """A capture runs nothing; each launch reads what lies at the captured addresses then, by one call."""
    script = f"""{CAPTURE}
    error, graph = capture(there_and_back)
    stream.synchronize()
    said["captured"] = [error, int(got[0])]
    said["read"] = []
    before = sum(fake.calls().values())
    for part in (2, 3):
        sent[0] = part
        launch(graph)
        stream.synchronize()
        said["read"].append(int(got[0]))
    said["calls"] = sum(fake.calls().values()) - before
    said["live"] = {{name: fake.count(name) for name in ("graphs", "executable_graphs")}}
    driver.cuGraphExecDestroy(graph)
    said["left"] = fake.count("executable_graphs")
    """
    assert bench.says(script) == {
        "captured": [0, 9],
        "read": [2, 3],
        "calls": 4,
        "live": {"graphs": 0, "executable_graphs": 1},
        "left": 0,
    }


FORBIDDEN = {
    "a synchronous copy": ("cuMemcpyHtoD_v2(ctypes.c_uint64(int(memory)), sent_at, size)", UNSUPPORTED),
    "an allocation": ("cuMemAlloc_v2(ctypes.byref(ctypes.c_uint64()), size)", UNSUPPORTED),
    "a wait for the stream": ("cuStreamSynchronize(handle)", UNSUPPORTED),
    "a wait for the device": ("cuCtxSynchronize()", UNSUPPORTED),
    "a query of another event": ("cuEventQuery(other)", UNSUPPORTED),
    "a module": ('cuModuleLoadData(ctypes.byref(ctypes.c_void_p()), b".version 8.0")', UNSUPPORTED),
}
ALWAYS_FORBIDDEN = {
    "a wait for the stream": ("cuStreamSynchronize(handle)", UNSUPPORTED),
    "a wait for a captured event": ("cuEventSynchronize(event)", CAPTURED_EVENT),
    "a query of a captured event": ("cuEventQuery(event)", CAPTURED_EVENT),
}
CALLS = [("GLOBAL", *case) for case in FORBIDDEN.values()] + [
    ("RELAXED", *case) for case in ALWAYS_FORBIDDEN.values()
]


def test_a_capture_is_lost_by_a_call_that_it_forbids(bench: Machine) -> None:
    """The call fails, nothing is captured, and the stream works as before afterwards."""
    script = f"""{CAPTURE}
    event, other = ctypes.c_void_p(), ctypes.c_void_p()
    for made in (event, other):
        driver.cuEventCreate(ctypes.byref(made), 0)
    sent_at, size = ctypes.c_void_p(sent.ctypes.data), ctypes.c_size_t(4)
    said["calls"] = []
    for mode, call, _ in {CALLS!r}:
        answers = []

        def queue():
            driver.cuEventRecord(event, handle)
            there_and_back()
            answers.append(eval("driver." + call, {{**globals(), **names}}))

        names = dict(
            driver=driver, ctypes=ctypes, memory=memory, sent_at=sent_at, size=size, handle=handle, event=event,
            other=other,
        )
        error, graph = capture(queue, {{"GLOBAL": GLOBAL, "RELAXED": RELAXED}}[mode])
        said["calls"].append([answers[0], error])
    sent[0] = 4
    there_and_back()
    stream.synchronize()
    said["after"] = int(got[0])
    """
    assert bench.says(script) == {"calls": [[error, INVALIDATED] for _, _, error in CALLS], "after": 4}


def test_a_relaxed_capture_allows_what_does_not_touch_it(bench: Machine) -> None:
    """It allocates, and waits for other streams, while it records."""
    script = f"""{CAPTURE}
    def queue():
        cuda.mem_alloc(4)
        cuda.Stream(1).synchronize()
        there_and_back()

    said["error"], graph = capture(queue, RELAXED)
    said["launched"] = launch(graph)
    stream.synchronize()
    said["read"] = int(got[0])
    """
    assert bench.says(script) == {"error": 0, "launched": 0, "read": 1}


def test_work_on_the_default_stream_spoils_the_capture_of_a_stream_that_waits_for_it(bench: Machine) -> None:
    """A stream that does not wait for the default stream is captured all the same; that one never is."""
    script = f"""{CAPTURE}
    def queue():
        try:
            cuda.memcpy_htod_async(memory, sent)
        except cuda.Error:
            said["refused"] = True

    blocking = cuda.Stream()
    said["errors"] = [
        capture(queue, on=on)[0] for on in (handle, ctypes.c_void_p(blocking.handle), ctypes.c_void_p(0))
    ]
    """
    assert bench.says(script) == {"refused": True, "errors": [0, INVALIDATED, 1]}


def test_a_graph_that_outlives_its_memory_loses_the_device(bench: Machine) -> None:
    """A graph holds addresses, not memory: a kernel that reads what was freed faults."""
    script = f"""{CAPTURE}
    copy = cuda.module_from_buffer(b".version 8.0").get_function("copy").prepare("PPi")
    source = on_device(5)
    error, graph = capture(lambda: copy.prepared_async_call((1, 1), (1, 1, 1), stream, memory, source, 4))
    said["launched"] = [launch(graph), driver.cuStreamSynchronize(handle)]
    source.free()
    said["freed"] = [launch(graph), driver.cuStreamSynchronize(handle)]
    """
    illegal_address = 700
    assert bench.says(script) == {"launched": [0, 0], "freed": [0, illegal_address]}


def test_a_graph_is_launched_by_one_call_and_costs_more_the_first_time(bench: Machine) -> None:
    """Its work takes the device as long as without a graph; only the host's calls are fewer."""
    script = f"""{CAPTURE}
    fake.set_costs(copy_in=100, copy_out=50, call=7, first_launch=1000)
    error, graph = capture(there_and_back)
    said["took_ns"] = []
    for _ in range(2):
        begin = fake.now_ns()
        launch(graph)
        queued = fake.now_ns()
        stream.synchronize()
        said["took_ns"].append([queued - begin, fake.now_ns() - queued])
    """
    assert bench.says(script) == {"took_ns": [[1007, 150], [7, 150]]}
