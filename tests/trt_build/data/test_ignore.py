"""A mask beside the pictures: what it covers is not seen in training, calibration and evaluation."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from drafts import SIZE, write_parts

from edge.bundle import Draft, describe, read_bundle, read_draft, write_manifest
from edge.image.warp import FLAT
from edge.manifest import File, InputSpec
from edge.recipe import EngineChoice
from trt_build.data.errors import DatasetError
from trt_build.data.parts import as_learned, picture, read_parts
from trt_build.figures.parts import evaluate
from trt_build.methods.base import EvaluateOptions
from trt_build.methods.stpm.method import METHOD as parts
from trt_build.packing.pack import pack
from trt_build.packing.threshold import CalibrationOptions

SPEC = InputSpec(height=SIZE, width=SIZE, color="rgb")
#: Where a defective part has its spot; see `drafts.part`.
SPOT = np.s_[8:16, 12:20]


def write_mask(folder: Path, place: object = SPOT, size: tuple[int, int] = (SIZE, SIZE)) -> Path:
    mask = np.zeros(size, np.uint8)
    mask[place] = 255
    cv2.imwrite(str(folder / "ignore.png"), mask)
    return folder / "ignore.png"


@pytest.fixture
def masked(tmp_path: Path) -> Path:
    """Parts whose spots are not judged."""
    write_mask(write_parts(tmp_path / "parts", trained=140, good=4, bad=4))
    return tmp_path / "parts"


def test_every_picture_of_a_folder_is_painted(masked: Path, caplog: pytest.LogCaptureFixture) -> None:
    """For training and for the test; the mask is not warned about as a picture that is left out."""
    with caplog.at_level(logging.WARNING):
        found = read_parts(masked)
    assert "ignore.png" not in caplog.text
    hidden = np.zeros((SIZE, SIZE), bool)
    hidden[SPOT] = True
    for part in (found.train[0], found.test[0], found.test[-1]):
        seen, whole = picture(part, SPEC)[0], cv2.imread(str(part.path))[..., ::-1]
        assert (seen[:, hidden] == FLAT).all()
        assert np.array_equal(np.moveaxis(seen, 0, -1)[~hidden], whole[~hidden])


WRONG = {
    "another size": (SPOT, (SIZE, SIZE + 8), "is 40x32, and pictures are 32x32: draw it over one of them"),
    "everything": (np.s_[:], (SIZE, SIZE), "ignores everything: draw white what is not to be judged"),
    "nothing": (np.s_[:0], (SIZE, SIZE), "ignores nothing: draw white what is not to be judged"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mask_that_cannot_be_meant_is_a_mistake(masked: Path, case: str) -> None:
    """Each is named with the file, before anything is trained."""
    place, size, said = WRONG[case]
    write_mask(masked, place, size)
    with pytest.raises(DatasetError) as error:
        read_parts(masked)
    assert str(error.value).startswith(f"{masked / 'ignore.png'}: {said}")


def test_a_mask_that_is_no_picture_is_a_mistake(masked: Path) -> None:
    """It is never taken for no mask."""
    (masked / "ignore.png").write_text("white, please")
    with pytest.raises(DatasetError, match=r"ignore\.png: expected a picture"):
        read_parts(masked)


def with_mask(draft: Path, place: object = SPOT) -> Draft:
    """As export leaves a draft of a network that was trained with the mask."""
    write_mask(draft, place)
    manifest = msgspec.structs.replace(
        read_draft(draft).manifest, ignored=File(**describe(draft, "ignore.png"))
    )
    write_manifest(draft, manifest)
    return read_draft(draft)


def test_parts_are_seen_as_the_model_learned_them(
    anomaly_draft: Path, copy: Callable[[Path], Path], masked: Path
) -> None:
    """With the model's mask, whether or not the folder brings it; another mask than the model's is refused."""
    draft = copy(anomaly_draft)
    with pytest.raises(
        DatasetError, match=r"ignore\.png: .* was trained without a mask: train it with this one"
    ):
        as_learned(read_parts(masked).test, read_draft(draft))
    model = with_mask(draft)
    for _ in range(2):
        (part,) = as_learned(read_parts(masked).test, model)[:1]
        assert (picture(part, SPEC)[0][(slice(None), *SPOT)] == FLAT).all()
        (masked / "ignore.png").unlink(missing_ok=True)
    write_mask(masked, np.s_[8:16, 12:21])
    with pytest.raises(DatasetError, match=r"was trained with another mask"):
        as_learned(read_parts(masked).test, model)


def test_a_model_with_a_mask_is_calibrated_packed_and_measured_with_it(
    anomaly_draft: Path, copy: Callable[[Path], Path], masked: Path, tmp_path: Path
) -> None:
    """Defects under the mask are not found and cost no pixel; the bundle brings the mask, and is whole."""
    draft = copy(anomaly_draft)
    with_mask(draft)
    found = parts.calibrate(draft, masked, CalibrationOptions(rate=0.1))
    shown = tmp_path / "shown"
    shutil.copytree(masked, shown)
    (shown / "ignore.png").unlink()
    bundle = pack(draft, tmp_path / "bundle", cases=parts.held_out(shown, SPEC))
    assert read_bundle(bundle.folder).ignored()[SPOT].all()
    assert all((case.image[(0, slice(None), *SPOT)] == FLAT).all() for case in bundle.golden())
    spots = parts.evaluate(bundle.folder, masked, EvaluateOptions()).figures
    assert spots["image_auroc"] < 0.9
    assert "pixel_auroc" not in spots
    assert found.threshold > 0


def test_pixels_under_the_mask_do_not_count(
    anomaly_draft: Path, copy: Callable[[Path], Path], masked: Path
) -> None:
    """Half of each spot is left, and that half alone is a defect's pixels."""
    draft = copy(anomaly_draft)
    with_mask(draft, np.s_[8:12, 12:20])
    write_mask(masked, np.s_[8:12, 12:20])
    parts.calibrate(draft, masked, CalibrationOptions(rate=0.1))
    found = evaluate(read_draft(draft), masked, EngineChoice())
    assert found.figures["pixel_auroc"] > 0.95
