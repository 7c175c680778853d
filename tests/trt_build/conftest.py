"""Drafts and data that the tests of several steps share; copy a draft before you change it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from bundles import unpacked
from drafts import write_anomaly_draft, write_matcher_draft, write_parts, write_products
from engines import changed, freed, with_kernels

from edge.bundle import Bundle, read_model, write_manifest
from edge.engines.compiled import Target
from edge.engines.trt_library import load_runtime
from trt_build.__main__ import main
from trt_build.data.cases import Case
from trt_build.data.pairs import read_pairs
from trt_build.graphs.int8 import add_int8
from trt_build.methods.comparator.calibrate import set_thresholds
from trt_build.methods.matcher.method import METHOD as products
from trt_build.methods.stpm.method import METHOD as parts
from trt_build.packing.threshold import CalibrationOptions

try:
    import torch
except ImportError:
    torch = None
else:
    torch.set_warn_always(True)  # else some come once a process, and fail whichever test comes first
    torch.set_num_threads(1)  # of networks this small two mostly wait for each other, most on a busy machine

Run = Callable[..., tuple[int, str, str]]

#: What the drafts here are calibrated with.
CALIBRATION = CalibrationOptions(rate=0.2)


@pytest.fixture(scope="session")
def part_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """140 good parts to train with; 12 good and 10 defective ones to test on."""
    return write_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="session")
def product_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 products of two drawings and four photos each."""
    return write_products(tmp_path_factory.mktemp("products"))


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backbone's file with weights that were never trained: enough to train on what it sees."""
    from safetensors.torch import save_file

    from trt_build.backbones.open import build_backbone

    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    save_file(build_backbone("mobilenet_v2").network.state_dict(), path)
    return path


@pytest.fixture(scope="session")
def anomaly_draft(part_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FP32 and INT8, not calibrated; see `drafts.write_anomaly_draft`."""
    draft = write_anomaly_draft(tmp_path_factory.mktemp("drafts") / "anomaly")
    spec = read_model(draft).manifest.input
    white = Case(name="white", image=np.full(spec.shape, 255, np.uint8))  # or INT8 would cut a spot's light off
    add_int8(draft, [*parts.calibration_pictures(part_folder, spec), white])
    return draft


@pytest.fixture(scope="session")
def matcher_draft(product_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FP32 and INT8, not calibrated; see `drafts.write_matcher_draft`."""
    draft = write_matcher_draft(tmp_path_factory.mktemp("drafts") / "matcher")
    add_int8(draft, products.calibration_pictures(product_folder, read_model(draft).manifest.input))
    return draft


@pytest.fixture(scope="session")
def pcb_draft(pcb_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The comparator of few nodes as a draft, not calibrated."""
    draft = Path(shutil.copytree(pcb_bundle, tmp_path_factory.mktemp("drafts") / "pcb"))
    write_manifest(draft, unpacked(read_model(pcb_bundle).manifest))
    return draft


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bundle]:
    """The draft of a model of `networks.NETWORKS`, in all precisions; made when it is first asked for."""
    pytest.importorskip("torch")
    pytest.importorskip("modelopt", reason="nvidia-modelopt is not installed: pip install 'linejudge[build]'")
    from networks import export_network

    made: dict[str, Bundle] = {}

    def network(name: str) -> Bundle:
        if name not in made:
            made[name] = export_network(name, tmp_path_factory.mktemp("networks") / name)
        return made[name]

    return network


@pytest.fixture(scope="session")
def calibrated_anomaly(
    anomaly_draft: Path, part_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Its threshold keeps `CALIBRATION`."""
    draft = Path(shutil.copytree(anomaly_draft, tmp_path_factory.mktemp("calibrated") / "anomaly"))
    parts.calibrate(draft, part_folder, CALIBRATION)
    return draft


@pytest.fixture(scope="session")
def calibrated_matcher(
    matcher_draft: Path, product_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Its threshold keeps `CALIBRATION`."""
    draft = Path(shutil.copytree(matcher_draft, tmp_path_factory.mktemp("calibrated") / "matcher"))
    products.calibrate(draft, product_folder, CALIBRATION)
    return draft


@pytest.fixture(scope="session")
def calibrated_pcb(pcb_draft: Path, pcb_pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its thresholds are chosen on all pairs, so that more than a handful choose them."""
    draft = Path(shutil.copytree(pcb_draft, tmp_path_factory.mktemp("calibrated") / "pcb"))
    set_thresholds(draft, read_pairs(pcb_pairs), CALIBRATION)
    return draft


@pytest.fixture
def trt_build(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs a command; returns its status, output and errors."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["trt-build", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    yield run
    if torch:
        torch.set_num_threads(1)  # a training takes as many as there are cores


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[Path], Path]:
    """Makes a copy of a draft that may be changed."""
    return lambda draft: Path(shutil.copytree(draft, tmp_path / "draft"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def anywhere() -> Target:
    """What TensorRT-RTX builds for where there is no GPU."""
    version = load_runtime("tensorrt_rtx").__version__
    return Target(runtime="tensorrt_rtx", version=version, compute_capability=None, driver=None)


@pytest.fixture
def tiny(tiny_bundle: Path, tmp_path: Path) -> Bundle:
    """A comparator of one part at a time; its kernels count as compiled."""
    return with_kernels(read_model(Path(shutil.copytree(tiny_bundle, tmp_path / "tiny"))))


@pytest.fixture
def free(score_bundle: Path, tmp_path: Path) -> Bundle:
    """An anomaly model that leaves free how many parts it takes at once."""
    return changed(with_kernels(read_model(Path(shutil.copytree(score_bundle, tmp_path / "free")))), freed)
