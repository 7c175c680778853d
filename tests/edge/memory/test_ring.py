"""Slots that carry a part through the line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from parts import part_of

from edge.errors import SlotOverwritten
from edge.memory.ring import NO_LEASE, Ring, as_image, as_outputs, forget_outputs, outputs_nbytes


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    return Ring.create(tmp_path / "ring", slots=3, frame=35, tensors=[35, 20], outputs=[64, 4])


def test_a_slot_is_leased_until_its_part_has_a_verdict(ring: Ring) -> None:
    """With every slot taken there is no lease; the first verdict frees the first slot."""
    leases = [ring.lease(entry, published=0) for entry in range(3)]
    assert [slot for slot, _ in leases] == [0, 1, 2]
    assert ring.free(0) == 0
    assert ring.lease(3, published=0) == NO_LEASE
    assert ring.free(1) == 1
    assert ring.lease(3, published=1) == (0, 2)


def test_pixels_that_belong_to_a_later_part_are_never_read(ring: Ring) -> None:
    """A part whose slot was leased anew gets an error instead of another part's picture."""
    slot, generation = ring.lease(0, published=0)
    late = part_of(0, slot=slot, generation=generation)
    with ring.area(late, "frame") as area:
        as_image(area, (5, 7))[:] = 1
    for entry in (1, 2, 3):
        ring.lease(entry, published=entry)
    with pytest.raises(SlotOverwritten, match=late.part_id), ring.area(late, "frame"):
        pass


def test_a_slot_leased_anew_while_it_is_read_is_noticed(ring: Ring) -> None:
    """A reader that was overtaken in the middle of its work is told so when it is done."""
    slot, generation = ring.lease(0, published=0)
    for entry in (1, 2):
        ring.lease(entry, published=entry)

    def read() -> None:
        with ring.area(part_of(0, slot=slot, generation=generation), "tensor"):
            ring.lease(3, published=3)

    with pytest.raises(SlotOverwritten):
        read()


def test_a_frame_that_capture_has_not_finished_is_not_taken_for_a_picture(ring: Ring) -> None:
    """A slot shows a part's frame once capture has said so, and never the frame of the slot's part before."""
    first = part_of(0, slot=0, generation=ring.lease(0, published=0)[1])
    assert not ring.is_filled(first)
    ring.set_filled(first)
    assert ring.is_filled(first)
    for entry in (1, 2, 3):
        slot, generation = ring.lease(entry, published=entry)
    assert slot == 0
    assert not ring.is_filled(part_of(3, slot=0, generation=generation))
    assert not ring.is_filled(part_of(4, slot=-1, generation=0))


def test_areas_of_a_slot_do_not_touch(ring: Ring, tmp_path: Path) -> None:
    """Frame, and each judge's tensor and outputs, keep what was written, seen from another mapping too."""
    areas = [("frame", 0), ("tensor", 0), ("tensor", 1), ("outputs", 0), ("outputs", 1)]
    parts = []
    for entry in range(3):
        slot, generation = ring.lease(entry, published=0)
        parts.append(part_of(entry, slot=slot, generation=generation))
        for i, (name, number) in enumerate(areas):
            with ring.area(parts[-1], name, number) as area:
                area[:] = 10 * entry + i
    other = Ring.open(tmp_path / "ring")
    for entry, part in enumerate(parts):
        for i, (name, number) in enumerate(areas):
            with other.area(part, name, number) as area:
                assert (area == 10 * entry + i).all()


def test_outputs_lie_one_after_another(ring: Ring) -> None:
    """Two outputs written into a slot are read back as they were."""
    slot, generation = ring.lease(0, published=0)
    shapes = {"map": (1, 2, 3), "extents": (1, 4)}
    part = part_of(0, slot=slot, generation=generation)
    with ring.area(part, "outputs") as area:
        arrays = as_outputs(area, shapes)
        arrays["map"][:] = np.arange(6).reshape(1, 2, 3)
        arrays["extents"][:] = -1
    with ring.area(part, "outputs") as area:
        again = as_outputs(area, shapes)
        assert again["map"].ravel().tolist() == [0, 1, 2, 3, 4, 5]
        assert again["extents"].ravel().tolist() == [-1, -1, -1, -1]


def test_a_gpu_can_write_outputs_as_they_lie_in_a_slot() -> None:
    """Each begins where TensorRT can write. No page begins between two, where its NaN would not be seen."""
    shapes = {"score": (1,), "map": (1, 1, 31, 33), "extents": (1, 4, 32, 32)}
    area = np.zeros(outputs_nbytes(shapes), np.uint8)
    arrays = as_outputs(area, shapes)
    starts = {name: array.ctypes.data - area.ctypes.data for name, array in arrays.items()}
    assert starts == {"score": 0, "map": 256, "extents": 4352}
    assert len(area) == 4352 + 4 * 4 * 32 * 32
    forget_outputs(area)
    marked = {name: int(np.isnan(array).sum()) for name, array in arrays.items()}
    assert marked == {"score": 1, "map": 1, "extents": 4}
    assert np.isnan(area.view(np.float32)).sum() == 6


def test_a_part_without_a_slot_has_no_pixels(ring: Ring) -> None:
    """A part that came when no slot was free cannot be read."""
    with pytest.raises(SlotOverwritten), ring.area(part_of(0, slot=-1, generation=0), "frame"):
        pass
