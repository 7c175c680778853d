"""Bundles and drafts of the first format are read, and mean what they meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import edge
from edge.manifest import DraftManifest, least_rejected
from edge.manifest_file import parse_manifest


def of_format_1(**changes: Any) -> bytes:
    """The demo's manifest as the first format had it, with other values under some keys."""
    text = (Path(__file__).parent / "manifest-of-format-1.json").read_text()
    return json.dumps(json.loads(text) | changes).encode()


def test_a_bundle_of_format_1_is_read() -> None:
    """Bundles that were packed before are read as what they would be today."""
    demo = Path(edge.__file__).parent / "demo" / "bundle" / "manifest.json"
    assert parse_manifest(of_format_1()) == parse_manifest(demo.read_bytes())


@pytest.mark.parametrize("calibrated", [True, False])
def test_a_draft_of_format_1_is_read(calibrated: bool) -> None:
    """Only its metadata told whether the thresholds were set; those of any other draft were made up."""
    draft = parse_manifest(of_format_1(golden=[], facts={"epochs": 3, "calibrated": calibrated}))
    assert isinstance(draft, DraftManifest)
    assert draft.metadata == {"epochs": 3}
    assert (draft.thresholds is not None) == calibrated


def test_a_threshold_of_format_1_keeps_its_meaning() -> None:
    """It was the greatest score that passed, and is the least that is rejected."""
    known = {"method": "conformal", "rate": 0.1, "n": 2, "threshold": 0.25, "note": "at most 10 %"}
    known |= {"engine": "openvino fp32", "artifact": "0" * 64, "scores": [0.1, 0.25]}
    calibration = parse_manifest(of_format_1(calibration=known)).calibration
    assert calibration is not None
    assert calibration.threshold == least_rejected(0.25) > 0.25
