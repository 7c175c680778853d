"""Fixtures for the tests of both packages: small real bundles, pictures, and the recipe of a line."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import checkout  # noqa: F401  (first: the others import edge)
import cv2
import numpy as np
import pytest
from bundles import KINDS, board, comparator_manifest, write_anomaly, write_comparator, write_matcher
from fake_gpu import machine
from fake_gpu.host import HostKernels
from fake_gpu.machine import Machine
from fake_gpu.nvml import FakeNvml
from lines import line_name, write_boards, write_recipe

from edge.bundle import write_manifest
from edge.line.run_folder import SHARED_MEMORY

#: The fixtures that compile or download something.
BUILT = {"bench", "host_kernels", "nvml"}


def pytest_configure() -> None:
    """Let processes that tests start receive signals, even where pytest ignores them, as under nohup."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with a fixture of `BUILT` as `built`, before pytest selects tests by their markers."""
    for item in items:
        if BUILT & set(getattr(item, "fixturenames", ())):
            item.add_marker("built")
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparator of a few nodes: `(1, 1, 64, 64)` grey, thresholds 0.5; FP32 and INT8; two golden cases.

    `spot` is the largest difference from the master in a cell of 4x4 pixels, divided by 255; `shade` is the
    difference of the cell's means. Each extent is 2 px, so a cell's box is the cell. Masters: `a` and `b`.
    Copy the bundle before you damage it.
    """
    return write_comparator(tmp_path_factory.mktemp("bundles") / "tiny", KINDS)


@pytest.fixture(scope="session")
def pcb_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle with the kinds of the board data set; only the first two are ever seen."""
    kinds = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
    return write_comparator(tmp_path_factory.mktemp("bundles") / "pcb", kinds)


@pytest.fixture(scope="session")
def score_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An anomaly model of a few nodes: `(1, 1, 64, 64)` grey; FP32; two golden cases; not calibrated.

    Its map is the distance of each 4x4 cell's mean from a medium grey, divided by 255. Its score is the map's
    mean. Threshold 0.145; regions are shown from 0.3.
    """
    return write_anomaly(tmp_path_factory.mktemp("bundles") / "anomaly")


@pytest.fixture(scope="session")
def matcher_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A matcher of a few nodes: `(1, 1, 64, 64)` grey; FP32; two golden cases, one of another product.

    Its embedding `(1, 64)` is the means of 8x8 pixels minus their own mean, scaled to length 1. Threshold 0.3.
    """
    return write_matcher(tmp_path_factory.mktemp("bundles") / "matcher")


@pytest.fixture(scope="session")
def pcb_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 60 labelled pairs, `(64, 64)` grey, each with one `open` that scores 0.3 to 0.53."""
    folder = tmp_path_factory.mktemp("pairs")
    for i in range(60):
        master = board(i)
        tested = master.copy()
        x, y = 4 * (i % 14 + 1), 4 * (i % 11 + 2)
        tested[y + 1 : y + 3, x + 1 : x + 3] = np.minimum(master[y + 1 : y + 3, x + 1 : x + 3] + 77 + i, 255)
        cv2.imwrite(str(folder / f"{i:02d}_temp.png"), master)
        cv2.imwrite(str(folder / f"{i:02d}_test.png"), tested)
        (folder / f"{i:02d}.txt").write_text(f"{x} {y} {x + 4} {y + 4} 1\n")
    return folder


@pytest.fixture(scope="session")
def bench() -> Machine:
    """A machine with a fake GPU; building it takes two minutes if pycuda is not in the cache yet."""
    return machine.built()


@pytest.fixture(scope="session")
def host_kernels(tmp_path_factory: pytest.TempPathFactory) -> HostKernels:
    """The line's CUDA kernel, compiled for the host."""
    return HostKernels(tmp_path_factory.mktemp("kernels"))


@pytest.fixture(scope="module")
def nvml(tmp_path_factory: pytest.TempPathFactory) -> FakeNvml:
    """A fake NVML whose GPU is busy."""
    return FakeNvml(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def constant_bundle(tmp_path: Path) -> Callable[..., Path]:
    """Makes a bundle whose engine answers every part alike; the arguments are the engine's metadata."""

    def make(**metadata: Any) -> Path:
        folder = tmp_path / "constant"
        folder.mkdir()
        write_manifest(
            folder, comparator_manifest(KINDS, name="constant", method="constant", metadata=metadata)
        )
        return folder

    return make


@pytest.fixture(autouse=True)
def _nothing_left_in_shared_memory(request: pytest.FixtureRequest) -> Iterator[None]:
    """Remove what a line that was killed in a test has left in shared memory."""
    named = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    if named is not None:
        shutil.rmtree(SHARED_MEMORY / f"linejudge-{os.getuid()}" / line_name(named), ignore_errors=True)


@pytest.fixture
def textured() -> np.ndarray:
    """A grey picture `(64, 64)` uint8 with enough texture for registration."""
    noise = np.random.default_rng(7).normal(0, 1, (64, 64)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5)
    return np.clip(90 + 160 * smooth, 20, 180).astype(np.uint8)


@pytest.fixture
def endless(tmp_path: Path, constant_bundle: Callable[..., Path], textured: np.ndarray) -> Callable[..., Path]:
    """Makes the recipe of a line that never ends, with a constant engine of this metadata."""

    def make(more: str = "", fps: float = 50, **metadata: object) -> Path:
        source = write_boards(tmp_path, {"0": True, "1": True}, textured) + f"\nfps = {fps}\nrepeat = true"
        return write_recipe(tmp_path, constant_bundle(**metadata), source, more)

    return make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a megabyte, mounted for this test alone."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "journal-test", disk], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)
