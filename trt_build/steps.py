"""Which module takes a method's pictures through the steps after training."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_MODULES = {"comparator": "boards", "matcher": "products"}


def steps_of(method: str) -> Any:
    """The module with the method's `ranges`, `calibrate`, `kept` and `labelled`, imported when asked for."""
    return import_module(f"trt_build.{_MODULES.get(method, 'parts')}")
