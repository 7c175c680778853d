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
