"""Runs an inspection line: pictures of parts come in, and a verdict on each part goes out. Never imports torch.

The objects for other programs are imported at their first use. A stage's process imports this package before
the process has arranged to end with its supervisor, so the package itself imports nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .bundle import read_bundle
    from .messages import Alarm, Heartbeat, Verdict
    from .recipe_file import read_recipe
    from .subscription import Missed, Place, Silent, subscribe

__all__ = [
    "Alarm",
    "Heartbeat",
    "Missed",
    "Place",
    "Silent",
    "Verdict",
    "read_bundle",
    "read_recipe",
    "subscribe",
]

_MODULES = {
    "Alarm": "messages",
    "Heartbeat": "messages",
    "Verdict": "messages",
    "read_bundle": "bundle",
    "read_recipe": "recipe_file",
    "Missed": "subscription",
    "Place": "subscription",
    "Silent": "subscription",
    "subscribe": "subscription",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
