"""The fake TensorRT refuses what the real one refuses, in the same way."""

from __future__ import annotations

import json

import pytest
from fake_gpu.machine import Machine

PLAN = {
    "version": "10.13.3.9",
    "portable": False,
    "weights_bytes": 100,
    "scratch_bytes": 0,
    "batch": 2,
    "poison": -1,
    "inputs": {"image": {"dtype": "uint8", "shape": [4]}},
    "outputs": {"score": {"dtype": "float32", "shape": [1], "salt": 7}},
}


@pytest.mark.parametrize(
    ("plan", "refusal"),
    [
        (json.dumps(PLAN), None),
        (json.dumps({**PLAN, "version": "9.9"}), "the plan was built by version 9.9"),
        (json.dumps(PLAN)[:-20], "the plan is cut short or is none"),
        (json.dumps({**PLAN, "weights_bytes": 1 << 40}), "cuMemAlloc_v2 failed with CUDA error 2"),
    ],
    ids=["whole", "of another version", "cut short", "too large"],
)
def test_the_fake_tensorrt_takes_only_whole_plans_of_its_version(
    bench: Machine, plan: str, refusal: str | None
) -> None:
    """Like the real one, it returns None for any other plan and logs why."""
    script = f"""
        import tensorrt as trt

        class Log(trt.ILogger):
            def log(self, severity, text):
                said["log"] = text

        said["loaded"] = trt.Runtime(Log()).deserialize_cuda_engine({plan.encode()!r}) is not None
    """
    said = bench.says(script)
    assert said["loaded"] is (refusal is None)
    assert (refusal or "") in said.get("log", "")


def test_the_fake_tensorrt_runs_no_batch_beyond_its_profile(bench: Machine) -> None:
    """It returns False for shapes outside the profile and for addresses that are not aligned or missing."""
    script = f"""
        import tensorrt as trt
        engine = trt.Runtime(trt.Logger()).deserialize_cuda_engine({json.dumps(PLAN).encode()!r})
        context, stream = engine.create_execution_context(), cuda.Stream()
        image, score = on_device(1, 2), on_device(0, 0)
        said["shapes"] = [context.set_input_shape("image", (count, 4)) for count in (3, 2, 0)]
        said["addresses"] = [context.set_tensor_address("image", int(image) + add) for add in (4, 0)]
        said["early"] = context.execute_async_v3(stream.handle)
        context.set_tensor_address("score", int(score))
        said["run"] = context.execute_async_v3(stream.handle)
        del context, engine, image, score, stream
        said["left"] = fake.live()
    """
    said = bench.says(script)
    assert said == {
        "shapes": [False, True, False],
        "addresses": [False, True],
        "early": False,
        "run": True,
        "left": {"contexts": 1},
    }


# `launched(counts)` captures a run of each count on one context, launches the first, and returns what it gave.
GRAPHS = """
    import ctypes
    import tensorrt as trt
    driver = ctypes.CDLL("libcuda.so.1")
    engine = trt.Runtime(trt.Logger()).deserialize_cuda_engine({plan!r})
    stream = cuda.Stream(1)
    handle = ctypes.c_void_p(stream.handle)
    image, score, got = on_device(1, 2), on_device(0, 0), cuda.pagelocked_zeros(1, np.float32)

    def graph_of(context, count, warm=True):
        context.set_input_shape("image", (count, 4))
        context.set_tensor_address("image", int(image))
        context.set_tensor_address("score", int(score))
        if warm:
            context.execute_async_v3(stream.handle)
            stream.synchronize()
        graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
        driver.cuStreamBeginCapture_v2(handle, 0)
        context.execute_async_v3(stream.handle)
        if driver.cuStreamEndCapture(handle, ctypes.byref(graph)):
            return None
        driver.cuGraphInstantiateWithFlags(ctypes.byref(executable), graph, ctypes.c_ulonglong(0))
        return executable

    def launched(graph):
        driver.cuGraphLaunch(graph, handle)
        cuda.memcpy_dtoh_async(got, score, stream)
        stream.synchronize()
        return float(got[0])
"""


def test_a_graph_of_the_fake_tensorrt_is_lost_when_its_context_takes_another_shape(bench: Machine) -> None:
    """A context has the state of its last shape, as TensorRT documents: each graph needs its own context."""
    script = f"""{GRAPHS.format(plan=json.dumps(PLAN).encode())}
    one, two = engine.create_execution_context(), engine.create_execution_context()
    graph = graph_of(one, 1)
    said["alone"] = launched(graph)
    graph_of(two, 2)
    said["own context"] = launched(graph)
    graph_of(one, 2)
    said["same context"] = launched(graph)
    """
    said = bench.says(script)
    assert said["own context"] == said["alone"] != 0
    assert said["same context"] != said["alone"]


@pytest.mark.parametrize(
    ("plan", "warm", "captured"),
    [(PLAN, True, True), (PLAN, False, False), ({**PLAN, "uncapturable": True}, True, False)],
    ids=["after a run", "without a run before", "a network that waits for the host"],
)
def test_the_fake_tensorrt_is_captured_only_after_a_plain_run(
    bench: Machine, plan: dict[str, object], warm: bool, captured: bool
) -> None:
    """The first run with a shape loads what it needs, which no capture allows; some networks never are."""
    script = f"""{GRAPHS.format(plan=json.dumps(plan).encode())}
    context = engine.create_execution_context()
    said["captured"] = graph_of(context, 1, {warm}) is not None
    context.execute_async_v3(stream.handle)
    cuda.memcpy_dtoh_async(got, score, stream)
    stream.synchronize()
    said["plain"] = float(got[0]) > 0
    """
    assert bench.says(script) == {"captured": captured, "plain": True}


def test_contexts_of_the_fake_tensorrt_share_scratch_memory_that_they_are_given(bench: Machine) -> None:
    """Without memory of its own a context runs only once it was given enough."""
    script = f"""{GRAPHS.format(plan=json.dumps(PLAN).encode())}
    scratch, size = cuda.mem_alloc(4096), engine.device_memory_size_v2
    before = fake.count("allocations")
    strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
    contexts = [engine.create_execution_context(strategy) for _ in range(2)]
    said["runs"] = []
    for context, given in zip(contexts, (size - 1, size)):
        graph_of(context, 1)
        said["runs"].append(context.execute_async_v3(stream.handle))
        context.set_device_memory(int(scratch), given)
        said["runs"].append(context.execute_async_v3(stream.handle))
    """
    assert bench.says(script) == {"runs": [False, False, False, True]}
