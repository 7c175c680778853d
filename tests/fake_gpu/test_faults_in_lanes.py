"""Faults put into a copy of `edge`, one at a time: the fake GPU shows each by a wrong result or by a count."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fake_gpu.machine import Machine
from fake_gpu.runs import COMPARING, JUDGING, ORDERS, run

import edge

LANES, TRT, PLAN, WARPING, ANSWERS = (
    f"engines/{name}.py" for name in ("lanes", "trt", "plan", "warping", "answers")
)
QUEUED_IN = "self._cuda.memcpy_htod_async(at, image, self._stream)"
QUEUED_OUT = "memcpy_dtoh_async(to, self._memory, stream)"
REGION = "copy.src_x_in_bytes, copy.src_y = frame.strides[0], left * pixel, top\n"
WARPED = "parameters, 0, stream)"
BUFFER = "cuda.mem_alloc(batch * image.nbytes)"
OUTPUTS = "self._cuda.mem_alloc(nbytes)"
RECORDED = "            self._done.record(self._stream)"
WAITED = "                self._done.synchronize()"
MADE = "            self._done.synchronize()\n        features"
BROUGHT = "(brought and brought() is kept)"
LAUNCHED = "self._graphs[count].launch(self._stream)"
CONTEXT = "            if count not in self._contexts:\n"
SHARED = """        if self._contexts and count not in self._contexts:
            self._contexts[count], self._known[count] = self._contexts[1], self._known[1]
            for name, put in self._plan.inputs.items():
                self._contexts[1].set_input_shape(name, (count, *put.shape[1:]))
"""
LET_GO = "\n            self._samples = tuple(Sample(sample.image) for sample in self._samples)"
SHUFFLED = {"order": "shuffled"}  # else late
MASTERS = {"kind": COMPARING, "views": 5}
BATCHES = {"batch": 3}
FRAMES, JUDGES = {"frames": True, "parts": 100}, {"judges": 3}
JETSON = {"integrated": True}
FAULTS = {  # file, what it says, what it is made to say, and where that shows
    "the event is not waited for": (LANES, WAITED, "                pass", {}),
    "the event is not recorded": (LANES, RECORDED, "            pass", {}),
    "inputs on the default stream": (LANES, QUEUED_IN, QUEUED_IN.replace(", self._stream", ""), {}),
    "outputs on the default stream": (ANSWERS, QUEUED_OUT, QUEUED_OUT.replace(", stream", ""), {}),
    "frames warped on the default stream": (
        WARPING,
        WARPED,
        WARPED.replace("stream", "None"),
        FRAMES,
    ),
    "a frame's copy that another judge does not wait for": (
        WARPING,
        "stream.wait_for_event(region.copy.done)",
        "pass",
        FRAMES | JUDGES | SHUFFLED,
    ),
    "a frame's copy that is waited for before it is queued": (
        WARPING,
        "if region.readers > 1:",
        "if False:",
        FRAMES | JUDGES | SHUFFLED,
    ),
    "a frame's rows one too high": (WARPING, REGION, REGION.replace(", top", ", top - 1"), FRAMES),
    "a frame's last row left out": (WARPING, "bottom - top\n", "bottom - top - 1\n", FRAMES),
    "a frame's columns one too far left": (WARPING, REGION, REGION.replace("left", "(left - 1)"), FRAMES),
    "raw frames without the neighbours of their region": (
        "image/warp.py",
        'if self.source == "gray" or self.source == "bgr":\n            return left',
        "if True:\n            return left",
        FRAMES | {"bayer": "rggb"},
    ),
    "a region without its last row and column": (
        "image/warp.py",
        "math.floor(most + aside)",
        "math.floor(most + aside) - 1",
        FRAMES,
    ),
    "a region that ends where that of the first judge does": (
        "engines/base.py",
        "max(one[2], other[2])",
        "min(one[2], other[2])",
        FRAMES | JUDGES,
    ),
    "a frame's copy let go while it is read": (
        WARPING,
        "weakref.finalize(made, self._free.append, number).atexit = False",
        "self._free.append(number)",
        FRAMES | SHUFFLED,
    ),
    "a union of regions that is the last judge's": (
        "engines/base.py",
        "_union(self.box, warp.reads) if self.readers else warp.reads",
        "warp.reads",
        FRAMES | JUDGES,
    ),
    "the network on the default stream": (PLAN, "execute_async_v3(stream.handle)", "execute_async_v3(0)", {}),
    "one input buffer for all lanes": (LANES, BUFFER, f'globals().setdefault("_all", {BUFFER})', SHUFFLED),
    "one output buffer for all lanes": (
        ANSWERS,
        OUTPUTS,
        f'globals().setdefault("_all", {OUTPUTS})',
        SHUFFLED,
    ),
    "outputs that come after those of the slot's next part": (
        "stages/infer.py",
        "if any((tensor.part.camera, tensor.part.slot) in slots",
        "if False and any((tensor.part.camera, tensor.part.slot) in slots",
        {"overtaken": True, "parts": 100} | SHUFFLED,
    ),
    "one execution for all lanes": (
        TRT,
        "judge.execution(),",
        'globals().setdefault("_all", judge.execution()),',
        SHUFFLED,
    ),
    "samples of a batch on top of each other": (
        LANES,
        "at = start + number * self._image.nbytes",
        "at = start",
        BATCHES,
    ),
    "features of the master before": (LANES, BROUGHT, "brought", MASTERS),
    "features of the sample before": (LANES, "+ number * put.nbytes, kept", ", kept", MASTERS | BATCHES),
    "one feature of several": (
        LANES,
        "kept.addresses[first], self._features_nbytes",
        "kept.addresses[first], 256",
        MASTERS,
    ),
    "one context for all numbers of samples": (PLAN, CONTEXT[4:], SHARED + CONTEXT[4:], BATCHES),
    "pictures read where the graph does not": (LANES, " and 1 not in self._graphs", "", JETSON),
    "features let go while in use": (LANES, RECORDED, RECORDED + LET_GO, MASTERS | BATCHES),
    "features used before they are made": (TRT, MADE, "        features", MASTERS),
}


def copy_of_edge(folder: Path, file: str, right: str, wrong: str) -> None:
    """Copy `edge` into a folder, and make one of its files say something else."""
    copy = folder / "edge"
    shutil.copytree(Path(edge.__file__).parent, copy, ignore=shutil.ignore_patterns("demo", "__pycache__"))
    source = (copy / file).read_text()
    assert source.count(right) == 1, f"{file} does not say {right!r} just once"
    (copy / file).write_text(source.replace(right, wrong))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_lanes_shows(bench: Machine, tmp_path: Path, fault: str) -> None:
    """This proves the fake: with any of these faults in a copy of `edge`, parts get results of others."""
    file, right, wrong, shown = FAULTS[fault]
    copy_of_edge(tmp_path, file, right, wrong)
    asked = {"order": "late", "kind": JUDGING, "masters_kept": 1, "parts": 300, **shown}
    integrated = {"FAKE_CUDA_INTEGRATED": 1} if asked.pop("integrated", False) else {}
    faulty = bench.taking(tmp_path).having(**ORDERS[asked.pop("order")], **integrated)
    told = run(faulty, tmp_path, **asked)
    assert told.wrong


WARMED = "range(1, self._batch + 1)"
WASTES = {  # file, what it says, what it is made to say, what is counted, and of which parts
    "no lane is warmed": (TRT, "            self._warm()\n", "", "first_launches", {}),
    "one lane is warmed": (TRT, "in self._lanes]):", "in self._lanes[:1]]):", "launches", {}),
    "one number of samples is warmed": (LANES, WARMED, "range(1, 2)", "first_launches", BATCHES),
    "no graph is recorded": (LANES, "why = why or self._record(count, plain)", "pass", "launches", {}),
    "features are copied for each part": (
        LANES,
        BROUGHT,
        "False",
        "cuMemcpyDtoDAsync_v2",
        MASTERS | {"views": 1},
    ),
}


@pytest.mark.parametrize("waste", WASTES)
def test_a_waste_in_the_lanes_is_counted(bench: Machine, tmp_path: Path, waste: str) -> None:
    """Results stay right, so only the counters show that parts pay for what could be done before or once."""
    file, right, wrong, counter, asked = WASTES[waste]
    (tmp_path / "wasteful").mkdir()
    copy_of_edge(tmp_path / "wasteful", file, right, wrong)
    found = []
    for packages in ((), (tmp_path / "wasteful",)):
        told = run(bench.taking(*packages), tmp_path, **{"kind": JUDGING, "parts": 100, **asked})
        assert (told.error, told.wrong, told.right) == ("", [], 100)
        found.append((told.grown | told.calls).get(counter, 0))
    assert found[1] > found[0] + 1


WRONG_GRAPHS = {
    "on the default stream": (
        "engines/graph.py",
        "cuGraphLaunch(self._handle, ctypes.c_void_p(stream.handle))",
        "cuGraphLaunch(self._handle, ctypes.c_void_p(0))",
    ),
    "of one sample": (LANES, LAUNCHED, "self._graphs[1].launch(self._stream)"),
}


@pytest.mark.parametrize("fault", WRONG_GRAPHS)
def test_a_graph_that_gives_other_outputs_is_not_used(bench: Machine, tmp_path: Path, fault: str) -> None:
    """Each graph is compared with a plain run before parts come; if it differs, parts get the plain run's."""
    copy_of_edge(tmp_path, *WRONG_GRAPHS[fault])
    told = run(bench.taking(tmp_path), tmp_path, COMPARING, batch=3, parts=200)
    assert (told.error, told.wrong, told.right) == ("", [], 200)
    assert told.grown["launches"] > 200
