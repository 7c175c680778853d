"""Lists the names of all methods of judging parts, and imports a method when it is needed."""

from __future__ import annotations

from importlib import import_module
from typing import get_args

from edge.errors import BundleError
from trt_build.methods.base import Method, MethodName

METHODS: tuple[str, ...] = get_args(MethodName)


def method_of(name: str) -> Method:
    """Return the method with this name. Raise BundleError if no method has this name."""
    if name not in METHODS:
        raise BundleError(f"method: expected one of {', '.join(METHODS)}, found {name!r}")
    method: Method = import_module(f"trt_build.methods.{name}.method").METHOD
    return method
