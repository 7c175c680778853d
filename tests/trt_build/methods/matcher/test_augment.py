from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")

from trt_build.methods.matcher.augment import AS_IT_IS, SYMMETRIES, Redrawing, redraw, side_by_side  # noqa: E402


def strokes(count: int = 4, size: int = 41) -> torch.Tensor:
    """White pictures with an L of black strokes left of the middle."""
    pictures = torch.full((count, 1, size, size), 255, dtype=torch.uint8)
    pictures[:, :, 8:30, 10:13] = 0
    pictures[:, :, 27:30, 10:20] = 0
    return pictures


def drawn(how: Redrawing, seed: int = 0) -> torch.Tensor:
    return redraw(strokes(), how, torch.Generator().manual_seed(seed))


def ink(pictures: torch.Tensor) -> torch.Tensor:
    return (255 - pictures.float()).sum(dim=(1, 2, 3)) / 255


def test_redrawing_nothing_gives_the_same_picture():
    """What is laid onto itself is the same to the grey level."""
    assert torch.equal(drawn(AS_IT_IS), strokes())


def test_a_drawing_can_be_laid_in_eight_ways():
    """Over many runs each of them comes up; with two only the picture and its mirror image do."""
    many, each = strokes(200), torch.arange(200)
    generator = torch.Generator().manual_seed(0)
    eight = redraw(many, AS_IT_IS, generator, run=each, symmetries=len(SYMMETRIES))
    assert len({bytes(picture.numpy()) for picture in eight}) == 8
    two = redraw(many, AS_IT_IS, generator, run=each, symmetries=2)
    ours = {bytes(picture.numpy()) for picture in (many[0], many[0].flip(2))}
    assert {bytes(picture.numpy()) for picture in two} == ours


def test_what_is_of_one_run_is_laid_alike_and_drawn_apart():
    """The letters of a run change together, as those of another alphabet, and each by its own hand on top."""
    many, run = strokes(64), torch.arange(64) // 8
    laid = redraw(many, AS_IT_IS, torch.Generator().manual_seed(0), run=run, symmetries=len(SYMMETRIES))
    assert len({bytes(letter.numpy()) for letter in laid}) > 1
    for letters in laid.split(8):
        assert len({bytes(letter.numpy()) for letter in letters}) == 1
    drawn_apart = redraw(many, Redrawing(turn_deg=20), torch.Generator().manual_seed(0), run=run)
    assert len({bytes(letter.numpy()) for letter in drawn_apart}) == 64


def test_two_drawings_side_by_side_keep_their_ink_and_their_places():
    """The left one on the left, the right one on the right, both whole, half as wide, and as dark as before."""
    left, right = strokes(), strokes().flip(2)
    both = side_by_side(left, right)
    assert both.shape == left.shape
    assert both.unique().tolist() == [0, 255]
    for half, whole in ((both[..., :20], left), (both[..., 20:40], right)):
        assert torch.equal((half == 0).any(dim=3), (whole == 0).any(dim=3))
        assert torch.equal((half == 0).any(dim=2).nonzero()[:, -1].unique(), torch.arange(5, 10))
    assert (both[..., 40:] == 255).all()


def test_a_thicker_pen_adds_ink_and_a_thinner_one_takes_some():
    """The pen changes by picture, up to an outline more or less, and never beyond."""
    how = {"turn_deg": 0, "scale": 0, "stretch": 0, "shift": 0, "bend": 0}
    before = ink(strokes())[0]
    thicker = ink(drawn(Redrawing(**how, thicker=1, thinner=0)))
    thinner = ink(drawn(Redrawing(**how, thicker=0, thinner=1)))
    assert thicker.max() > before * 1.2
    assert thicker.min() >= before
    assert thicker.max() <= before * 2
    assert thinner.min() < before * 0.8
    assert thinner.max() <= before


def test_missing_strokes_are_gone_in_patches():
    """Some ink disappears, none is added, and what stays is as dark as it was."""
    how = Redrawing(turn_deg=0, scale=0, stretch=0, shift=0, bend=0, thinner=0, thicker=0, gone=1.0)
    left = drawn(how)
    assert 0 < ink(left).min() < ink(strokes())[0]
    assert set(left.unique().tolist()) == {0, 255}
    assert ((left == 0) <= (strokes() == 0)).all()


@pytest.mark.parametrize("name", ["turn_deg", "scale", "stretch", "shift", "bend"])
def test_each_kind_of_freedom_moves_the_strokes(name: str):
    """Every one of them alone changes each picture in its own way and keeps the strokes in sight."""
    far = {"turn_deg": 20.0, "bend": 0.02}.get(name, 0.1)
    moved = drawn(Redrawing(**{**vars(AS_IT_IS), name: far}))
    assert len({bytes(picture.numpy()) for picture in (*moved, strokes()[0])}) == 5
    assert ink(moved).min() > ink(strokes())[0] / 2


def test_a_redrawn_batch_depends_on_its_seed_only():
    """A run that was stopped sees what it would have seen."""
    assert torch.equal(drawn(Redrawing(gone=0.5), seed=3), drawn(Redrawing(gone=0.5), seed=3))
    assert not torch.equal(drawn(Redrawing(gone=0.5), seed=3), drawn(Redrawing(gone=0.5), seed=4))
