"""What few good parts give: larger sets hold smaller ones, and each model is trained once."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs torch, which only building models uses")

from drafts import write_parts
from few_parts import rows, write_subset

from trt_build.data.parts import read_parts


def test_larger_sets_hold_smaller_ones(tmp_path: Path) -> None:
    """A better figure comes from more pictures, and not from other ones."""
    train = read_parts(write_parts(tmp_path / "parts", trained=40, good=0, bad=0)).train
    names = [
        {part.name for part in read_parts(write_subset(train, count, tmp_path / str(count))).train}
        for count in (5, 10, 40)
    ]
    assert [len(found) for found in names] == [5, 10, 40]
    assert names[0] < names[1] < names[2]


def test_a_row_is_measured_once(tmp_path: Path) -> None:
    """A stopped run goes on with what the file lacks; the figures are of the model that the row names."""
    data = write_parts(tmp_path / "parts", trained=8, good=4, bad=4)
    options = argparse.Namespace(
        data=data, out=tmp_path / "rows.jsonl", method=["gaussian"], count=[8, 100], train=["--size 64"]
    )
    (row,) = rows(options)  # the folder has eight, so 100 are the same
    assert (row["method"], row["good"], row["data"]) == ("gaussian", 8, "parts")
    assert 3 <= int(str(row["trained"])) <= 8
    assert 0.5 < float(str(row["image_auroc"])) <= 1
    options.out.write_text(json.dumps(row) + "\n")
    assert list(rows(options)) == []
