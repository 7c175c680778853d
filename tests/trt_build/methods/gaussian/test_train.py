"""A training of the method `gaussian`: some seconds, few parts, and a checkpoint as of any other method."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drafts import write_parts

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")
pytest.importorskip("safetensors", reason="needs safetensors, which only building models uses")

from trt_build.data.parts import pictures, read_parts, split_good  # noqa: E402
from trt_build.figures.ranking import image_auroc  # noqa: E402
from trt_build.methods.checkpoint import CHECKPOINT, PROGRESS, CheckpointError, load  # noqa: E402
from trt_build.methods.gaussian.network import GaussianConfig  # noqa: E402
from trt_build.methods.gaussian.train import train_gaussian  # noqa: E402
from trt_build.methods.trained import load_trained  # noqa: E402

NETWORK = GaussianConfig(backbone="mobilenet_v2", height=64, width=64, rank=8)


def auroc(folder: Path, parts: Path) -> float:
    """How well the trained model tells good parts from those with a spot."""
    model = load_trained(folder / CHECKPOINT).network
    tested = read_parts(parts).test
    with torch.inference_mode():
        score = model(torch.from_numpy(pictures(tested, NETWORK.spec)))[0].numpy()
    good = np.array([part.is_good for part in tested])
    return image_auroc(score[good], score[~good])


@pytest.fixture(scope="module")
def trained(part_folder: Path, untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gaussian")
    train_gaussian(part_folder, folder, network=NETWORK, weights=untrained)
    return folder


def test_spots_are_found(trained: Path, part_folder: Path) -> None:
    """Parts with a spot get higher scores than good ones."""
    assert auroc(trained, part_folder) > 0.9


def test_spots_are_found_after_few_good_parts(untrained: Path, tmp_path: Path) -> None:
    """Eight pictures are trained with, of all that lie in the folder those that are not kept."""
    parts = write_parts(tmp_path / "parts", trained=8)
    train_gaussian(parts, tmp_path / "run", network=NETWORK, weights=untrained)
    assert auroc(tmp_path / "run", parts) > 0.8


def test_parts_that_are_kept_for_the_threshold_change_nothing(
    trained: Path, part_folder: Path, untrained: Path, tmp_path: Path
) -> None:
    """All the others are fitted to, and the same pictures give the same numbers to the bit."""
    good = split_good(read_parts(part_folder).train)
    for part in [*good.fit, *good.validation]:
        copy = tmp_path / "parts/train/good" / part.path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(part.path.read_bytes())
    train_gaussian(tmp_path / "parts", tmp_path / "run", network=NETWORK, weights=untrained)
    first, second = (load(folder / CHECKPOINT)["weights"] for folder in (trained, tmp_path / "run"))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert json.loads((trained / PROGRESS).read_text())["parts"] == len(good.fit) + len(good.validation)


def test_the_map_lies_where_the_spot_is(trained: Path, part_folder: Path) -> None:
    """The spot of a part, at rows 16 to 32 and columns 24 to 40 of 64, has the highest cells."""
    model = load_trained(trained / CHECKPOINT).network
    bad = [part for part in read_parts(part_folder).test if not part.is_good]
    with torch.inference_mode():
        map_ = model(torch.from_numpy(pictures(bad, NETWORK.spec)))[1].mean((0, 1))
    row, column = divmod(int(map_.argmax()), map_.shape[1])
    assert 1 <= row <= 4
    assert 2 <= column <= 5


def test_a_checkpoint_needs_no_other_file(
    trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The backbone's weights travel with it."""
    monkeypatch.delenv("EDGE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = load_trained(trained / CHECKPOINT)
    assert found.method.name == "gaussian"
    assert found.network.config == NETWORK


def test_more_pictures_replace_a_checkpoint_of_the_same_sort(untrained: Path, tmp_path: Path) -> None:
    """Who took more pictures trains again in the same folder, and the report shows the last training alone."""
    for count in (10, 14):
        parts = write_parts(tmp_path / "parts", trained=count, good=0, bad=0)
        train_gaussian(parts, tmp_path / "run", network=NETWORK, weights=untrained)
        good = split_good(read_parts(parts).train)
        (line,) = (tmp_path / "run" / PROGRESS).read_text().splitlines()
        assert json.loads(line)["parts"] == len(good.fit) + len(good.validation)


def test_a_checkpoint_of_another_training_is_kept(trained: Path, part_folder: Path, untrained: Path) -> None:
    """The error names the file, and nothing of it is lost."""
    before = (trained / CHECKPOINT).read_bytes()
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt: of another training"):
        train_gaussian(part_folder, trained, network=replace(NETWORK, rank=4), weights=untrained)
    assert (trained / CHECKPOINT).read_bytes() == before


def test_a_report_shows_the_training(trained: Path) -> None:
    """Its one line is drawn as those of other trainings."""
    charts = pytest.importorskip("trt_build.figures.charts", reason="needs matplotlib, which draws reports")
    titles = [axes.get_ylabel() for axes in charts.draw_training(trained / PROGRESS).axes]
    assert titles == ["parts", "common"]
