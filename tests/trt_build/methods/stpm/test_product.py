"""Maps that are multiplied, as in the papers."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")

from trt_build.methods.stpm.product import Product  # noqa: E402


def test_a_cell_counts_where_all_strides_agree() -> None:
    """The cube root of the product; its maximum is the score."""
    maps = [torch.full((2, 1, 8 >> i, 8 >> i), value) for i, value in enumerate((0.2, 0.4, 0.8))]
    maps[0][0, 0, 3, 4] = 1.6
    score, map_ = Product()(maps)
    assert map_.shape == (2, 1, 8, 8)
    assert float(map_[0, 0, 3, 4]) == pytest.approx(0.8)
    assert float(map_[1].max()) == pytest.approx(0.4)
    np.testing.assert_allclose(score.numpy(), [0.8, 0.4], rtol=1e-6)


def test_a_second_pair_is_added_before_the_product() -> None:
    """Stride by stride: (1 + 3) * (2 + 6) * (4 + 12) = 512."""
    values = (1.0, 2.0, 4.0, 3.0, 6.0, 12.0)
    maps = [torch.full((1, 1, 8 >> i % 3, 8 >> i % 3), value) for i, value in enumerate(values)]
    score, _ = Product()(maps)
    assert float(score) == pytest.approx(8)


def test_a_perfect_student_costs_no_number() -> None:
    """A distance of nothing has a score all the same, and small ones do not become nothing."""
    score, map_ = Product()([torch.zeros(1, 1, 4, 4)] * 3)
    assert torch.isfinite(map_).all()
    small, _ = Product()([torch.full((1, 1, 4, 4), 1e-8)] * 3)
    assert float(small) == pytest.approx(1e-8, rel=1e-4)
    assert float(small) > float(score) == 0
