"""Which module takes a method's pictures through the steps after training."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_FOLDERS = {"comparator": "comparator", "matcher": "matcher"}


def steps_of(method: str) -> Any:
    """The module with the method's `ranges`, `calibrate`, `kept` and `labelled`, imported when asked for."""
    return import_module(f".{_FOLDERS.get(method, 'good_parts')}.steps", __package__)
