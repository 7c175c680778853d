"""A full disk, or a user without a home folder: an error that says what to do, and nothing half done."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest
from nobody import USER, of_nobody

from edge.bundle import read_model
from edge.engines.compiled import Target
from trt_build.engines.timing_cache import keep_timings, timing_file, use_timings
from trt_build.whole import DiskError, whole

Run = Callable[..., tuple[int, str, str]]


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """No file grows beyond so many bytes, as if the disk was full there."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("size", [500, 3000])
def test_a_bundle_that_does_not_fit_is_not_there(
    trt_build: Run, calibrated_anomaly: Path, part_folder: Path, tmp_path: Path, size: int
) -> None:
    """Wherever the disk ends: in a graph, a golden frame or the manifest."""
    draft = Path(shutil.copytree(calibrated_anomaly, tmp_path / "draft"))
    with files_end_at(size):
        status, _, said = trt_build("pack", draft, tmp_path / "bundle", "--data", part_folder)
    assert status == 1
    assert str(tmp_path) in said
    assert "cannot be written: File too large: make room" in said
    assert [path.name for path in tmp_path.iterdir()] == ["draft"]
    assert contents(draft) == contents(calibrated_anomaly)


def test_pairs_that_do_not_fit_are_told(trt_build: Run, tmp_path: Path) -> None:
    """A board without its picture would be trained with by nobody, and no one would know."""
    with files_end_at(500):
        status, _, said = trt_build("render", tmp_path / "pairs", "--boards", "1", "--size", "64")
    assert (status, f"{tmp_path}/pairs: cannot be written: File too large: make room" in said) == (1, True)
    assert not list(tmp_path.rglob("*.txt"))


def test_a_draft_keeps_its_manifest_where_a_new_one_does_not_fit(
    trt_build: Run, anomaly_draft: Path, part_folder: Path, copy: Callable[[Path], Path]
) -> None:
    """Calibrating it later, with room on the disk, goes on as if nothing had been."""
    draft = copy(anomaly_draft)
    with files_end_at(100):
        status, _, said = trt_build("calibrate", draft, part_folder, "--rate", "0.2")
    assert (status, f"{draft}/manifest.json: cannot be written: File too large: make room" in said) == (1, True)
    assert contents(draft) == contents(anomaly_draft)


def test_a_draft_that_does_not_fit_leaves_the_one_that_was_there(trt_build: Run, tmp_path: Path) -> None:
    """Exporting anew replaces a draft whole or not at all."""
    torch = pytest.importorskip("torch")
    from trt_build.methods.matcher.network import Matcher, MatcherConfig

    config = MatcherConfig(size=32, in_channels=1, widths=(4, 8), blocks=(0, 0), embedding=12)
    describe = {"model": "matcher", "config": asdict(config)}
    checkpoint, draft = tmp_path / "checkpoint.pt", tmp_path / "draft"
    torch.save({"weights": Matcher(config).state_dict(), "describe": describe, "epoch": 1}, checkpoint)
    assert trt_build("export", checkpoint, draft)[0] == 0
    assert read_model(draft).manifest.name == "draft"
    (draft / "notes.txt").write_text("mine")
    before = contents(draft)
    with files_end_at(2000):
        status, _, said = trt_build("export", checkpoint, draft)
    assert (status, f"{draft}: cannot be written: File too large: make room" in said) == (1, True)
    assert contents(draft) == before
    assert trt_build("export", checkpoint, draft)[0] == 0
    assert contents(draft).keys() == before.keys()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "draft"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root mounts a disk")
def test_a_disk_that_is_full_or_read_only_is_told(tmp_path: Path) -> None:
    """On a small disk of its own, full and then read-only."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine mounts nothing")
    try:
        full = pytest.raises(DiskError, match="bundle: cannot be written: No space left on device")
        with full, whole(disk / "bundle") as part:
            (part / "graph").write_bytes(bytes(100_000))
        assert list(disk.iterdir()) == []
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        fixed = pytest.raises(DiskError, match="bundle: cannot be written: Read-only file system")
        with fixed, whole(disk / "bundle"):
            pass
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_user_without_a_home_folder_is_told_where_files_could_be_kept() -> None:
    """Fetching says what to set; what is not needed is not kept."""
    done = of_nobody(
        "-c",
        "from trt_build.caches import user_cache\n"
        "from trt_build.backbones.published import BackboneError, fetch_backbone, find_backbone\n"
        "print(user_cache('timing'))\n"
        "for ask in (fetch_backbone, find_backbone):\n"
        "    try: ask('resnet18')\n"
        "    except BackboneError as error: print(error)\n",
    )
    said = done.stdout.splitlines()
    assert said[0] == "None", done.stderr
    assert said[1].startswith(f"the user {USER} has no home folder: set XDG_CACHE_HOME")
    assert "into $XDG_CACHE_HOME/linejudge/backbones" in said[2]


class Config:
    """What a builder has measured."""

    def create_timing_cache(self, data: bytes) -> Config:
        return self

    def set_timing_cache(self, cache: Config, ignore: bool) -> bool:
        return True

    def get_timing_cache(self) -> Config:
        return self

    def serialize(self) -> bytes:
        return b"measured"


def test_measurements_that_cannot_be_kept_end_no_build(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The build took minutes, and its engine is right; a warning names the file."""
    path = timing_file(Target(runtime="tensorrt", version="10.7.0", driver=12060, compute_capability=(8, 7)))
    assert path
    cache.write_text("a file where the folder should be")
    use_timings(Config(), path)
    keep_timings(Config(), path)
    assert f"{path}: cannot be kept: " in caplog.text
