from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")

from trt_build.methods.matcher.centred import SPREAD, Centred  # noqa: E402

SIZE = 105


def letter(left: int, top: int, unit: int) -> torch.Tensor:
    """An L `(1, 1, 105, 105)`, six units high and four wide, with strokes of one unit."""
    ink = torch.zeros(1, 1, SIZE, SIZE)
    ink[..., top : top + 6 * unit, left : left + unit] = 1
    ink[..., top + 5 * unit : top + 6 * unit, left : left + 4 * unit] = 1
    return ink


def moments(ink: torch.Tensor) -> tuple[list[float], list[float]]:
    """Mean position of the ink and its standard deviation, each as [x, y]; the picture is from -1 to 1."""
    shade = ink.mean(dim=(0, 1))
    side = len(shade)
    at = (torch.arange(side) * 2 + 1) / side - 1
    mean, spread = [], []
    for dim in (0, 1):
        share = shade.sum(dim=dim) / shade.sum()
        mean.append(float((share * at).sum()))
        spread.append(float((share * (at - mean[-1]) ** 2).sum().sqrt()))
    return mean, spread


@pytest.mark.parametrize("side", [24, 48, 51])
@pytest.mark.parametrize(("left", "top", "unit"), [(2, 3, 8), (60, 50, 7), (30, 30, 6), (5, 5, 14)], ids=str)
def test_a_letter_is_laid_alike_wherever_and_however_large_it_was_drawn(
    left: int, top: int, unit: int, side: int
):
    """What remains of place and size is what the edges of the strokes lose by the pixels."""
    centred = Centred(SIZE, side).eval()
    usual, found = centred(letter(20, 20, 10)), centred(letter(left, top, unit))
    assert found.shape == (1, 1, side, side)
    assert (found - usual).abs().sum() < 0.15 * usual.sum()
    mean, spread = moments(found)
    assert mean == pytest.approx([0, 0], abs=0.01)
    assert spread == pytest.approx(moments(usual)[1], rel=0.02)
    assert (spread[0] * spread[1]) ** 0.5 == pytest.approx(SPREAD, rel=0.05)


def test_a_long_letter_becomes_less_long_but_not_square():
    """The ratio of height to width becomes its square root."""
    _, (width, height) = moments(letter(20, 20, 10))
    _, (width_now, height_now) = moments(Centred(SIZE, 48).eval()(letter(20, 20, 10)))
    assert height / width > 1.2
    assert height_now / width_now == pytest.approx((height / width) ** 0.5, rel=0.02)


def test_strokes_stay_as_dark_as_they_were():
    """The middle of a broad stroke is full ink afterwards, whatever the sizes of the pixels."""
    for unit in (4, 7, 10, 14):
        assert Centred(SIZE, 48).eval()(letter(10, 10, unit)).max() == pytest.approx(1, abs=0.02)


def test_a_thin_stroke_is_not_lost_between_pixels():
    """A large L of lines one pixel wide has as much ink, in whichever column it begins."""
    ink = torch.zeros(1, 1, SIZE, SIZE)
    ink[..., 10:90, 10] = ink[..., 89, 10:70] = 1
    found = [float(Centred(SIZE, 24).eval()(ink.roll(by, dims=3)).sum()) for by in range(5)]
    assert found == pytest.approx([found[0]] * 5, rel=0.05)
    assert found[0] > 5


def test_every_channel_is_laid_alike():
    """Colours stay where they were with respect to each other."""
    ink = letter(2, 3, 8)
    found = Centred(SIZE, 48).eval()(torch.cat((ink, 0.5 * ink, ink), dim=1))
    torch.testing.assert_close(found[:, 1], found[:, 0] / 2)
    torch.testing.assert_close(found[:, 2], found[:, 0])


def test_pictures_of_a_batch_do_not_disturb_each_other():
    """Each has the place and the size of its own ink."""
    centred, one, other = Centred(SIZE, 48).eval(), letter(2, 3, 8), letter(60, 50, 5)
    torch.testing.assert_close(centred(torch.cat((one, other))), torch.cat((centred(one), centred(other))))


def test_blank_paper_stays_blank():
    """No ink has no middle; nothing is divided by zero."""
    assert (Centred(SIZE, 48).eval()(torch.zeros(2, 1, SIZE, SIZE)) == 0).all()


def test_a_dot_is_not_enlarged_without_limit():
    """A dot of three pixels becomes one of about six, a quarter of the picture being as large as all of it."""
    dot = torch.zeros(1, 1, SIZE, SIZE)
    dot[..., 80:83, 20:23] = 1
    found = Centred(SIZE, SIZE).eval()(dot)
    assert 9 * 12 < found.sum() < 9 * 20
    assert moments(found)[0] == pytest.approx([0, 0], abs=0.01)


def test_place_and_size_have_errors_while_training_alone():
    """Each picture its own, of a few hundredths, as letters by two hands have."""
    centred, many = Centred(SIZE, 48), letter(20, 20, 10).expand(200, -1, -1, -1)
    torch.manual_seed(0)
    found = [moments(one[None]) for one in centred.train()(many)]
    for mean_and_spread, usual in zip(zip(*found, strict=True), moments(centred.eval()(many[:1])), strict=True):
        seen = torch.tensor(mean_and_spread)
        assert (seen.mean(dim=0) - torch.tensor(usual)).abs().max() < 0.02
        assert 0.02 < seen.std(dim=0).min() < seen.std(dim=0).max() < 0.08
    assert (centred(many[:2])[0] == centred(many[:2])[1]).all()
