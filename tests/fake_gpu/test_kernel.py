"""The GPU warps a frame as the CPU does, and only kernels of this very source are loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fake_gpu.host import HostKernels, address
from numpy.typing import NDArray

from edge.image.kernel import SOURCE, fatbin, fatbin_name
from edge.image.warp import Warp, Warper
from edge.manifest import InputSpec

Image = NDArray[np.uint8]
SOURCES = ("gray", "bgr", "rggb", "grbg", "gbrg", "bggr")
COLORS = ("gray", "bgr", "rgb")
HOW = ("as it is", "a little", "to a whole part", "much", "one way much, the other not")  # a crop shrinks
# OpenCV 4 rounds where a pixel comes from to 1/32 pixel and shows the master alone at the frame's rim.
interpolates = pytest.mark.skipif(cv2.__version__ < "5", reason="OpenCV 4 interpolates more coarsely")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A frame, how it is to be warped, what lies under it, and what of the input is ignored."""

    frame: Image
    warper: Warper
    spec: InputSpec
    pose: NDArray[np.float64] | None
    under: Image | None

    def on_host(self) -> Image:
        out = np.empty(self.spec.shape, np.uint8)
        self.warp.apply(self.frame, out, self.under)
        return out

    @property
    def warp(self) -> Warp:
        return self.warper.warp(self.frame.shape, self.pose)

    def by(self, kernels: HostKernels) -> Image:
        """Warped by the kernel as the second of three parts; the others are not touched."""
        batch = np.full((3, *self.spec.shape[1:]), 7, np.uint8)
        addresses = map(address, (self.frame, self.under, self.warp.ignored, batch[1]))
        arguments = self.warp.arguments(self.frame.strides[0])
        kernels.launch("warp", *addresses, *arguments, grid=self.warp.grid, block=self.warp.block)
        assert (batch[[0, 2]] == 7).all()
        return batch[1:2]


def noise(rng: np.random.Generator, *shape: int) -> Image:
    return rng.integers(0, 256, shape, dtype=np.uint8)


def framed(rng: np.random.Generator, source: str, height: int, width: int) -> Image:
    """Noise whose rows lie further apart than they are long."""
    channels = (3,) if source == "bgr" else ()
    return noise(rng, height, width + int(rng.integers(0, 7)), *channels)[:, :width]


def scales(rng: np.random.Generator, how: str) -> tuple[float, float]:
    """By how much the crop shrinks, along x and y."""
    if how == "as it is":
        return 1.0, 1.0
    if how == "a little":
        return tuple(rng.uniform(0.5, 1.5, 2))
    if how == "to a whole part":
        return tuple(rng.integers(1, 5, 2).astype(float))
    if how == "much":
        return tuple(rng.uniform(1.5, 6, 2))
    return tuple(rng.permutation([rng.uniform(1.5, 6), rng.uniform(0.4, 1.5)]))


def posed(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float64] | None:
    """Not at all, whole pixels off, a part of one off, or turned; often beyond the crop, sometimes far."""
    kind, far = rng.integers(0, 4), rng.choice([3, 30, 300])
    if kind == 0:
        return None
    pose = (
        cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-10, 10), 1.0)
        if kind == 3
        else np.eye(3)[:2]
    )
    shift = rng.uniform(-far, far, 2)
    pose[:, 2] += shift.round() if kind == 1 else shift
    return pose


def any_case(rng: np.random.Generator, how: str) -> Case:
    """Any size from 8x8 on, any crop, colours, pose, and something under it or not."""
    source, color = str(rng.choice(SOURCES)), rng.choice(COLORS)
    height, width = map(int, rng.integers(8, 90, 2))
    frame = framed(rng, source, height, width)
    crop_w, crop_h = int(rng.integers(4, width + 1)), int(rng.integers(4, height + 1))
    x, y = int(rng.integers(0, width - crop_w + 1)), int(rng.integers(0, height - crop_h + 1))
    sx, sy = scales(rng, how)
    spec = InputSpec(height=max(1, int(crop_h / sy)), width=max(1, int(crop_w / sx)), color=color)
    if how == "to a whole part":
        crop_w, crop_h = int(spec.width * sx), int(spec.height * sy)
    crop = None if how != "to a whole part" and rng.random() < 0.3 else (x, y, crop_w, crop_h)
    return Case(
        frame=frame,
        warper=Warper(
            crop,
            spec,
            None if source in ("gray", "bgr") else source,  # type: ignore[arg-type]
            rng.random(spec.shape[2:]) < 0.2 if rng.random() < 0.5 else None,
        ),
        spec=spec,
        pose=posed(rng, crop_w, crop_h),
        under=noise(rng, *spec.shape) if rng.random() < 0.6 else None,
    )


@interpolates
@pytest.mark.parametrize("how", HOW)
def test_a_pixel_is_the_same_on_either(host_kernels: HostKernels, how: str) -> None:
    """A threshold found on one machine holds on the other: no pixel differs by more than one grey level."""
    differing, pixels = 0, 0
    for number in range(250):
        case = any_case(np.random.default_rng([number, len(how)]), how)
        apart = np.abs(case.by(host_kernels).astype(int) - case.on_host())
        assert apart.max() <= 1, (number, case)
        differing, pixels = differing + np.count_nonzero(apart), pixels + apart.size
    assert differing < 0.003 * pixels


def test_only_the_pixels_that_are_said_to_be_read_are(host_kernels: HostKernels) -> None:
    """So only they have to be copied to the GPU: whatever else the frame holds, the input is the same."""
    hidden = 0
    cases = [any_case(np.random.default_rng([number, 7]), HOW[number % len(HOW)]) for number in range(400)]
    for case in [*cases, large_case()]:
        left, top, right, bottom = case.warp.reads
        seen = case.frame[top:bottom, left:right]
        other = replace(case, frame=255 - case.frame)
        other.frame[top:bottom, left:right] = seen
        assert np.array_equal(case.by(host_kernels), other.by(host_kernels)), case
        hidden += seen.size < case.frame.size
    assert hidden > 200


def large_case() -> Case:
    """A part so far from the first pixel that coordinates have few digits behind the point."""
    rng, spec = np.random.default_rng(0), InputSpec(height=24, width=8000, color="bgr")
    return Case(
        frame=noise(rng, 40, 8300, 3),
        warper=Warper((200, 8, 8000, 24), spec),
        spec=spec,
        pose=cv2.getRotationMatrix2D((4000, 12), 0.1, 1.0),
        under=noise(rng, *spec.shape),
    )


@interpolates
def test_a_large_picture_is_the_same_on_either(host_kernels: HostKernels) -> None:
    """Far from the first pixel, too."""
    case = large_case()
    assert np.abs(case.by(host_kernels).astype(int) - case.on_host()).max() <= 1


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("color", COLORS)
def test_pixels_that_are_only_moved_are_the_same(host_kernels: HostKernels, source: str, color: Any) -> None:
    """Lossless from sensor to model on a GPU, too, wherever the crop lies and in whatever colours."""
    for number in range(30):
        rng = np.random.default_rng(number)
        height, width = map(int, rng.integers(8, 40, 2))
        w, h = int(rng.integers(3, width + 1)), int(rng.integers(3, height + 1))
        crop = (int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1)), w, h)
        spec = InputSpec(height=h, width=w, color=color)
        bayer: Any = None if source in ("gray", "bgr") else source
        shift = rng.integers(-12, 12, 2)
        case = Case(
            frame=framed(rng, source, height, width),
            warper=Warper(crop, spec, bayer),
            spec=spec,
            pose=np.column_stack([np.eye(2), shift]) if number % 3 else None,
            under=noise(rng, *spec.shape) if number % 2 else None,
        )
        assert np.array_equal(case.by(host_kernels), case.on_host()), (number, crop, shift)


@pytest.mark.parametrize("by", [2, 3, 4])
def test_a_mean_of_whole_pixels_is_rounded_alike(host_kernels: HostKernels, by: int) -> None:
    """Halves, of which the means of four pixels have many, go the same way on either."""
    rng, spec = np.random.default_rng(by), InputSpec(height=61, width=83, color="rgb")
    case = Case(
        frame=noise(rng, 61 * by, 83 * by, 3), warper=Warper(None, spec), spec=spec, pose=None, under=None
    )
    assert np.array_equal(case.by(host_kernels), case.on_host())


def test_rows_that_follow_one_another_need_no_pitch(host_kernels: HostKernels) -> None:
    """A frame from shared memory has no room between its rows."""
    frame, spec = noise(np.random.default_rng(0), 21, 35, 3), InputSpec(height=21, width=35, color="bgr")
    warp, out = Warper(None, spec).warp(frame.shape), np.empty(spec.shape, np.uint8)
    host_kernels.launch(
        "warp", address(frame), 0, 0, address(out), *warp.arguments(), grid=warp.grid, block=warp.block
    )
    assert np.array_equal(out[0], np.moveaxis(frame, -1, 0))


def test_kernels_of_another_source_are_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an update the line says that kernels are missing; it never runs those of the former release."""
    changed = tmp_path / "warp.cu"
    changed.write_bytes(SOURCE.read_bytes())
    monkeypatch.setattr("edge.image.kernel.SOURCE", changed)
    assert fatbin(tmp_path) is None
    (tmp_path / fatbin_name()).write_bytes(b"")
    assert fatbin(tmp_path) == tmp_path / fatbin_name()
    changed.write_text(changed.read_text() + "\n")
    assert fatbin(tmp_path) is None
