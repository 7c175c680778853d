"""TensorRT-RTX, which needs no GPU to parse and build, takes every graph that is exported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed: pip install 'linejudge[rtx]'")
pytest.importorskip("torch")
pytest.importorskip("modelopt")

from networks import NETWORKS  # noqa: E402  (only where torch is)

from edge.bundle import Bundle  # noqa: E402
from edge.engines.compiled import Target  # noqa: E402
from edge.manifest import Precision  # noqa: E402
from trt_build.engines.tensorrt_builder import BuildOptions, build_engine  # noqa: E402

BATCH = 4


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "int8_fp16", "fp8"])
@pytest.mark.parametrize("name", NETWORKS)
def test_an_engine_for_one_to_four_parts_is_built(
    network: Callable[[str], Bundle], name: str, precision: Precision, tmp_path: Path
) -> None:
    """Of each graph as it is typed, and in words of its own where one is refused.

    The comparator's reference sees one master at a time, whatever a judge takes.
    """
    bundle = network(name)
    here = Target(runtime="tensorrt_rtx", version=trt.__version__, compute_capability=None, driver=None)
    roles = [artifact.role for artifact in bundle.manifest.artifacts if artifact.precision == precision]
    assert set(roles) == ({"judge", "reference"} if name == "comparator" else {"judge"})
    for role in roles:
        built = build_engine(
            bundle, role, precision, tmp_path, trt=trt, target=here, options=BuildOptions(batch=BATCH)
        ).engine
        assert built.batch == (1 if role == "reference" else BATCH)
        assert (tmp_path / built.file.path).stat().st_size == built.file.bytes > 10_000
