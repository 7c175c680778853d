"""The program that trains and measures a method shows the figures that there are."""

from __future__ import annotations

import pytest
from accuracy import compared

OF_PICTURES = {"image_auroc": 0.9, "image_f1_max": 0.8, "escape": 0.2, "overkill": 0.05}


def test_without_masks_the_figures_of_pictures_are_shown() -> None:
    """Labels alone are enough; nothing is made up for pixels."""
    found = compared(OF_PICTURES, OF_PICTURES | {"image_auroc": 0.95})
    assert found == {
        "image_auroc": 0.9,
        "escape": 0.2,
        "overkill": 0.05,
        "image_auroc_fp32": 0.95,
        "image_auroc_lost": pytest.approx(0.05),
    }


def test_with_masks_both_precisions_have_figures_of_pixels() -> None:
    """Each precision its own."""
    found = compared(OF_PICTURES | {"pixel_auroc": 0.7}, OF_PICTURES | {"pixel_auroc": 0.8})
    assert (found["pixel_auroc"], found["pixel_auroc_fp32"]) == (0.7, 0.8)
