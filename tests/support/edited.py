"""Changes the manifest of a bundle in one place, as somebody might who writes it by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.bundle import read_bundle
from edge.errors import BundleError

Edit = Callable[[dict[str, Any]], None]


def edit(bundle: Path, change: Edit) -> None:
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def put(key: str, value: Any) -> Edit:
    """A change that sets a key, given by its path with dots."""

    def change(manifest: Any) -> None:
        *way, last = key.split(".")
        for step in way:
            manifest = manifest[int(step) if step.isdigit() else step]
        manifest[last] = value

    return change


def refuse(bundle: Path, change: Edit, said: str) -> None:
    edit(bundle, change)
    with pytest.raises(BundleError, match=f"manifest.json: {said}"):
        read_bundle(bundle)
