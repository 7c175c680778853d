"""Lists the methods by name; each is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import get_args

from edge.errors import BundleError
from trt_build.methods.base import Method, MethodName

METHODS: tuple[str, ...] = get_args(MethodName)


def method_of(name: str) -> Method:
    """Return the method of this name; raise BundleError where there is none."""
    if name not in METHODS:
        raise BundleError(f"method: expected one of {', '.join(METHODS)}, found {name!r}")
    method: Method = import_module(f"trt_build.methods.{name}.method").METHOD
    return method
