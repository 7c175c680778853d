"""With two GPUs of different kinds, engines and metrics use the same one, and the other can be chosen."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from bundles import KINDS, write_anomaly, write_comparator
from fake_gpu.machine import Machine
from fake_gpu.nvml import FakeNvml
from fake_gpu.plans import promise_answers, write_engines
from lines import write_recipe

BIG, SMALL = "GPU-65000000-0000-0000-0000-000000000000", "GPU-01000000-0000-0000-0000-000000000000"

# The GPU of the engines, and that of the metrics with its memory in GiB.
BOTH = """
import json, logging, sys
from pathlib import Path
from edge.engines.cuda import open_device
from edge.errors import EngineError
from edge.monitoring.gpu import find_gpu
logging.basicConfig(level=logging.INFO)
shown = find_gpu(Path(sys.argv[1]))
try:
    with open_device() as device:
        used = device.name
except EngineError as error:
    used = str(error)
print(json.dumps([used, shown and shown.name, shown and shown.read().memory_total_bytes >> 30]))
"""

CHOSEN = """
import json, sys
from pathlib import Path
from edge.bundle import read_bundle
from edge.engines import select_engine
from edge.recipe import EngineChoice
chosen = select_engine(EngineChoice(), read_bundle(Path(sys.argv[1])))
print(json.dumps([chosen.kind, chosen.left_out.get("tensorrt")]))
"""


@pytest.fixture
def two(bench: Machine, nvml: FakeNvml) -> Machine:
    """A machine with two GPUs. CUDA lists the big one first, NVML the small one."""
    pytest.importorskip("pynvml", reason="no pynvml: pip install nvidia-ml-py")
    nvml.tell(count=2)
    path = f"{bench.libraries}:{nvml.environment['LD_LIBRARY_PATH']}"
    return bench.having(FAKE_CUDA_GPUS=2, FAKE_NVML=nvml.environment["FAKE_NVML"], LD_LIBRARY_PATH=path)


@pytest.mark.parametrize(
    ("visible", "name", "memory_gib"),
    [
        (None, "Fake GPU", 8),
        (SMALL, "Small GPU", 0),
        (BIG, "Fake GPU", 8),
        (SMALL[:8], "Small GPU", 0),
        ("1", "Small GPU", 0),
        ("1,0", "Small GPU", 0),
    ],
    ids=["not chosen", "the small one", "the big one", "by half a UUID", "by number", "in another order"],
)
def test_engines_and_metrics_use_the_same_gpu(
    two: Machine, tmp_path: Path, visible: str | None, name: str, memory_gib: int
) -> None:
    """Whatever CUDA's order and CUDA_VISIBLE_DEVICES make the first one."""
    here = two if visible is None else two.having(CUDA_VISIBLE_DEVICES=visible)
    assert here.ask(BOTH, str(tmp_path)) == [name, name, memory_gib]


def test_a_line_that_sees_no_gpu_shows_none(two: Machine, tmp_path: Path) -> None:
    """An empty CUDA_VISIBLE_DEVICES takes the GPUs away from engines and metrics alike."""
    used, shown, _ = two.having(CUDA_VISIBLE_DEVICES="").ask(BOTH, str(tmp_path))
    assert used.startswith("no GPU can be used: cuInit failed: no CUDA-capable device is detected")
    assert shown is None


def test_an_engine_of_the_other_gpu_says_how_to_choose_it(two: Machine, tmp_path: Path) -> None:
    """The error names the GPU that is used, how many there are, and the variable; then the engine is taken."""
    bundle = write_engines(write_comparator(tmp_path / "bundle", KINDS))
    kind, why = two.having(CUDA_VISIBLE_DEVICES="1,0").ask(CHOSEN, str(bundle))
    assert kind == "openvino"
    assert "it is for another GPU (Fake GPU): tensorrt 10.13.3.9, Fake GPU, sm_87, 16 multiprocessors" in why
    assert "; Small GPU is the first of 2 GPUs: to use another one, set CUDA_VISIBLE_DEVICES to its UUID" in why
    assert two.having(CUDA_VISIBLE_DEVICES=BIG).ask(CHOSEN, str(bundle)) == ["tensorrt", None]


@pytest.mark.parametrize(("driver", "taken"), [(12060, False), (13000, True), (13020, True), (14000, True)])
def test_a_driver_that_is_older_than_tensorrt_is_named(
    bench: Machine, tmp_path: Path, driver: int, taken: bool
) -> None:
    """With both versions and what to install; later minor versions and majors of the driver are fine."""
    bundle = write_engines(write_comparator(tmp_path / "bundle", KINDS))
    site = tmp_path / "site" / "tensorrt_cu13-10.13.3.9.dist-info"
    site.mkdir(parents=True)
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: tensorrt_cu13\nVersion: 10.13.3.9\n")
    kind, why = bench.taking(site.parent).having(FAKE_CUDA_DRIVER=driver).ask(CHOSEN, str(bundle))
    if taken:
        assert (kind, why) == ("tensorrt", None)
    else:
        assert kind == "openvino"
        assert why == (
            "tensorrt 10.13.3.9 is for CUDA 13, and the driver supports CUDA up to 12.6: install a newer "
            "driver, or the tensorrt for CUDA 12: pip install tensorrt-cu12"
        )


def test_a_driver_that_is_older_than_pycuda_is_named(bench: Machine, tmp_path: Path) -> None:
    """It is not said that there is no driver."""
    package = Path(shutil.copytree(bench.pycuda / "pycuda", tmp_path / "site/pycuda")).parent
    (package / "pycuda/driver.py").write_text('raise ImportError("_driver.so: undefined symbol: cuNew")\n')
    script = "from edge.engines.cuda import driver_library\ndriver_library()"
    done: Any = bench.taking(package).run(script)
    assert "the NVIDIA driver is older than the CUDA toolkit that pycuda was built with" in done.stderr
    assert "undefined symbol: cuNew): install a newer driver" in done.stderr


@pytest.mark.parametrize(
    ("persistence", "on_gpu", "warned"),
    [(0, True, True), (1, True, False), (None, True, False), (0, False, False)],
    ids=["off", "on", "not told", "a line on the CPU"],
)
def test_check_warns_of_a_driver_that_is_loaded_anew_at_each_start(
    bench: Machine, nvml: FakeNvml, tmp_path: Path, persistence: int | None, on_gpu: bool, warned: bool
) -> None:
    """Only where the line runs on the GPU, and where the driver tells; the check is content all the same."""
    bundle = write_anomaly(tmp_path / "bundle")
    if on_gpu:
        promise_answers(bundle, 30_000.0)
        write_engines(bundle)
    recipe = write_recipe(tmp_path, bundle, 'kind = "synthetic"\nwidth = 64\nheight = 64\nparts = 3')
    nvml.tell(persistence=persistence)
    path = f"{bench.libraries}:{nvml.environment['LD_LIBRARY_PATH']}"
    here = bench.having(FAKE_NVML=nvml.environment["FAKE_NVML"], LD_LIBRARY_PATH=path, XDG_STATE_HOME=tmp_path)
    script = "import sys\nfrom edge.__main__ import main\nsys.argv[0] = 'edge'\nmain()"
    done = here.run(script, "check", str(recipe))
    assert done.returncode == 0, done.stderr
    assert f"ok  engine    {'tensorrt' if on_gpu else 'openvino'} fp32 reproduces" in done.stdout
    assert ("ok  gpu       Fake GPU is the one that the metrics show" in done.stdout) is on_gpu
    assert ("!!  gpu       persistence mode is off" in done.stdout) is warned
