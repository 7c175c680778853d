"""Defines Linejudge's errors; each one is also the builtin error that fits.

EdgeError
├── RecipeError (ValueError)      a recipe that cannot be run as written
├── BundleError (ValueError)      a model bundle that is incomplete, altered or does not fit the recipe
├── EngineError (RuntimeError)    an engine that cannot load, run or reproduce the golden predictions
│   ├── EngineLost                its device does not answer any more
│   └── NotReproduced             it runs, but its outputs differ from the FP32 model's
├── SourceError (OSError)         a camera, file or stream that cannot be opened or stopped delivering
├── SourceEnded (EOFError)        a file source that has delivered its last frame
├── PictureError (ValueError)     bytes that are not a whole picture
├── LineError (RuntimeError)      the line cannot start or go on: name taken, port in use, stage failed
├── WireError (ValueError)        bytes that are not a message of this version
├── SlotOverwritten (RuntimeError)  a slot was leased to a later part while an earlier one's data was needed
└── PartError (ValueError)        one part cannot be judged; carries the reason of its `unknown`
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .text import DETAIL_BYTES, fitted

if TYPE_CHECKING:
    from .messages import UnknownReason


class EdgeError(Exception):
    """Any error that Linejudge itself reports; its text says what to do."""


class RecipeError(EdgeError, ValueError):
    """A recipe cannot be run as written; the text names file and key."""


class BundleError(EdgeError, ValueError):
    """A model bundle is incomplete, altered or does not fit; the text names the file."""


class EngineError(EdgeError, RuntimeError):
    """An engine cannot load, cannot run or does not reproduce the golden predictions."""


class EngineLost(EngineError):
    """The engine's device does not answer any more; only a new process can go on."""


class NotReproduced(EngineError):
    """An engine runs, but its outputs for a golden frame differ from the FP32 model's."""


class SourceError(EdgeError, OSError):
    """A camera, file or stream cannot be opened or stopped delivering."""


class SourceEnded(EdgeError, EOFError):
    """A file source has delivered its last frame."""


class PictureError(EdgeError, ValueError):
    """Bytes are not a whole picture; the text says what was expected and what was found."""


class LineError(EdgeError, RuntimeError):
    """The line cannot start or go on as a whole."""


class WireError(EdgeError, ValueError):
    """Bytes are not a message of this version."""


class SlotOverwritten(EdgeError, RuntimeError):
    """A slot's data belong to a later part by now."""


class PartError(EdgeError, ValueError):
    """One part cannot be judged: it becomes `unknown` with this reason."""

    def __init__(self, reason: UnknownReason, detail: str) -> None:
        super().__init__(detail := fitted(detail, DETAIL_BYTES))
        self.reason: UnknownReason = reason
        self.detail = detail


def together(said: Sequence[str], most: int = 10) -> str:
    """Return several errors as one text: their number and up to `most` of them, a line each; one as it is."""
    if len(said) == 1:
        return said[0]
    rest = [f"and {len(said) - most} more"] if len(said) > most else []
    return "\n  ".join([f"{len(said)} mistakes:", *said[:most], *rest])
