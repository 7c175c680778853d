"""A comparator of parts in colours, with masks of one unnamed kind, goes all the way to a bundle."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")

from edge.bundle import read_bundle, read_model  # noqa: E402
from edge.judges.decide import Rule, decide  # noqa: E402
from trt_build.data.cases import judge_all, pair_cases  # noqa: E402
from trt_build.data.errors import DatasetError  # noqa: E402
from trt_build.data.pairs import PairSet, read_pairs, split  # noqa: E402
from trt_build.engines.saturation import REFERENCE  # noqa: E402
from trt_build.graphs.fp32 import export_checkpoint  # noqa: E402
from trt_build.methods.base import EvaluateOptions  # noqa: E402
from trt_build.methods.checkpoint import CHECKPOINT  # noqa: E402
from trt_build.methods.comparator.augment import PARTS  # noqa: E402
from trt_build.methods.comparator.method import METHOD  # noqa: E402
from trt_build.methods.comparator.network import Comparator, ComparatorConfig  # noqa: E402
from trt_build.methods.comparator.train import ComparatorTask, config_for, train_comparator  # noqa: E402
from trt_build.methods.loop import TrainConfig, fit  # noqa: E402
from trt_build.packing.pack import pack  # noqa: E402
from trt_build.packing.threshold import CalibrationOptions  # noqa: E402

#: Sides of the pictures, and of the spots that are defects, in pixels.
SIZE, SPOT = 64, 16


def write_parts(folder: Path, count: int, seed: int) -> Path:
    """Pairs of a textured part; two of three boards have a green spot."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for i in range(count):
        texture = cv2.GaussianBlur(rng.integers(0, 256, (SIZE, SIZE, 3)).astype(np.float32), (0, 0), 4)
        master = np.clip(120 + 3 * (texture - 128), 60, 200).astype(np.uint8)
        board, mask = master.copy(), np.zeros((SIZE, SIZE), np.uint8)
        if i % 3:
            x, y = (int(v) for v in rng.integers(4, SIZE - SPOT - 4, 2))
            board[y : y + SPOT, x : x + SPOT] = (20, 230, 20)
            mask[y : y + SPOT, x : x + SPOT] = 255
        for role, picture in (("temp", master), ("test", board), ("mask", mask)):
            cv2.imwrite(str(folder / f"{i:03}_{role}.png"), picture)
    return folder


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Pairs to train with, and pairs for the test."""
    folder = tmp_path_factory.mktemp("parts")
    return write_parts(folder / "train", 48, 0), write_parts(folder / "test", 12, 1)


@pytest.fixture(scope="module")
def checkpoint(parts: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny comparator, trained for some seconds."""
    torch.manual_seed(0)
    pairs = read_pairs(parts[0])
    train, held_out = split(pairs)
    assert 0 < sum(pair.is_good for pair in held_out) < len(held_out)
    network = replace(config_for(pairs, parts[0]), stem=8, widths=(8, 16, 16, 16), blocks=(0, 0, 0, 0))
    task = ComparatorTask(
        model=Comparator(network),
        pairs=train,
        held_out=held_out,
        augmentation=replace(PARTS, size_px=SIZE, scale=(1, 1), clean=0, jpeg=0, noise=0),
        batch=8,
        ahead=0,
    )
    folder = tmp_path_factory.mktemp("run")
    training = TrainConfig(epochs=24, rate=5e-3, average=0.9, check_every=24)
    fit(task, folder, training, describe={"model": "comparator", "config": asdict(network)})
    return folder / CHECKPOINT


@pytest.fixture(scope="module")
def draft(checkpoint: Path, parts: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint as graphs, calibrated."""
    draft = tmp_path_factory.mktemp("drafts") / "draft"
    export_checkpoint(checkpoint, draft)
    METHOD.calibrate(draft, parts[0], CalibrationOptions())
    return draft


def test_the_pairs_say_what_network_they_need(parts: tuple[Path, Path], pcb_pairs: Path) -> None:
    """Kinds, colour, size, and whether boxes or masks are learned."""
    network = config_for(read_pairs(parts[0]), parts[0])
    assert network == ComparatorConfig(kinds=("defect",), in_channels=3, extents=False, height=SIZE, width=SIZE)
    boards = config_for(read_pairs(pcb_pairs), pcb_pairs, (96, 128))
    assert (boards.in_channels, boards.extents, len(boards.kinds)) == (1, True, 6)
    assert (boards.width, boards.height) == (96, 128)


def test_a_few_seconds_of_training_cover_the_spots(checkpoint: Path, parts: tuple[Path, Path]) -> None:
    """On parts it has not seen, the map lies on the defects, and good parts are told from defective ones."""
    found = METHOD.evaluate(checkpoint, parts[1], EvaluateOptions(chosen_on=parts[0])).figures
    assert found["pixel_ap"] > 0.8
    assert (found["image_auroc"], found["escape"], found["overkill"]) == (1, 0, 0)


def test_the_graphs_give_what_the_network_gives(
    checkpoint: Path, draft: Path, parts: tuple[Path, Path], tmp_path: Path
) -> None:
    """The draft has one output, the kinds and the size of its training, and the same figures."""
    manifest = read_model(draft).manifest
    assert list(manifest.outputs) == ["map"]
    assert (manifest.kinds, manifest.input.shape, manifest.stride) == (("defect",), (1, 3, SIZE, SIZE), 4)
    assert 0 < manifest.thresholds["defect"] < 1
    assert manifest.metadata["held_out"]["image_auroc"] == 1
    options = EvaluateOptions(chosen_on=parts[0], report=tmp_path / "report")
    by_torch, by_graph = (METHOD.evaluate(model, parts[1], options).figures for model in (checkpoint, draft))
    assert by_graph == pytest.approx(by_torch, abs=1e-3)
    plain = METHOD.evaluate(draft, parts[1], EvaluateOptions()).figures
    assert (plain["escape"], plain["overkill"]) == (0, 0)


def test_the_quality_of_an_engine_is_the_precision_of_its_pixels(draft: Path, parts: tuple[Path, Path]) -> None:
    """What `verify` compares, and of what INT8 may lose a point, is the figure that `evaluate` prints."""
    model = read_model(draft)
    cases, measure = METHOD.labelled(parts[1], model)
    answers = judge_all(model, REFERENCE, cases)
    printed = METHOD.evaluate(draft, parts[1], EvaluateOptions()).figures
    assert measure(answers) == pytest.approx(100 * printed["pixel_ap"], abs=0.01)
    assert measure([{"map": 1 - outputs["map"]} for outputs in answers]) < 50


def test_a_bundle_of_it_marks_the_defective_pixels(
    draft: Path, parts: tuple[Path, Path], tmp_path: Path
) -> None:
    """It packs with golden frames, and a verdict's mask covers the spot."""
    spec = read_model(draft).manifest.input
    pack(draft, tmp_path / "bundle", cases=METHOD.held_out(parts[0], spec))
    bundle = read_bundle(tmp_path / "bundle")
    assert len(list(bundle.golden())) > 1
    rule = Rule(name="a", bundle="b", thresholds=bundle.manifest.thresholds, stride=4, masks=True)
    pairs = read_pairs(parts[1])
    covered = []
    for pair, outputs in zip(pairs, judge_all(bundle, REFERENCE, pair_cases(pairs, spec)), strict=True):
        found = decide(outputs, (1, 0, 0, 0, 1, 0), rule)
        assert (found.verdict == "pass") == pair.is_good
        if not pair.is_good:
            mask = found.regions[0].mask
            assert mask is not None
            covered.append(sum(mask.counts[1::2]) * 16 / SPOT**2)
    assert np.mean(covered) == pytest.approx(1.0, abs=0.4)


def test_a_model_of_masks_refuses_boxes(checkpoint: Path, pcb_pairs: Path, tmp_path: Path) -> None:
    """Its map would be compared with nothing; the message says what to give."""
    (tmp_path / "kinds.txt").write_text("defect\n")
    for path in pcb_pairs.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(DatasetError, match="labelled with boxes, and the model was trained with masks: give"):
        METHOD.evaluate(checkpoint, tmp_path, EvaluateOptions())


def test_pictures_that_do_not_fit_the_network_are_refused_with_a_way_out(pcb_pairs: Path) -> None:
    """Sizes that differ, or sides that are no multiple of 32, can be scaled."""
    pairs = read_pairs(pcb_pairs)
    odd = replace(pairs[0], master=np.zeros((50, 100), np.uint8), board=np.zeros((50, 100), np.uint8))
    with pytest.raises(DatasetError, match=r"pictures of 64x64 and of 100x50: scale .* by --size"):
        config_for(PairSet(pairs=(*pairs, odd), kinds=pairs.kinds), pcb_pairs)
    with pytest.raises(DatasetError, match=r"pictures of 100x50, .* multiples of 32: .* --size 96x64"):
        config_for(PairSet(pairs=(odd,), kinds=pairs.kinds), pcb_pairs)
    assert config_for(PairSet(pairs=(*pairs, odd), kinds=pairs.kinds), pcb_pairs, (96, 64)).width == 96


def test_a_kind_without_pairs_is_refused(parts: tuple[Path, Path], tmp_path: Path) -> None:
    """The network could not learn it; the message names it."""
    (tmp_path / "kinds.txt").write_text("spot\ndent\n")
    (tmp_path / "spot").mkdir()
    for path in parts[0].iterdir():
        folder = tmp_path / "spot" if path.stem.endswith("_mask") else tmp_path
        (folder / path.name).write_bytes(path.read_bytes())
    with pytest.raises(
        DatasetError, match="no pair to train with shows the kind 'dent': give pairs that do, or"
    ) as error:
        train_comparator(tmp_path, tmp_path / "run", training=TrainConfig(epochs=1))
    assert len(error.value.mistakes) == 1
    assert not (tmp_path / "run").exists()
