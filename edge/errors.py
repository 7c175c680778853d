"""What can go wrong, as one small tree; each error also is the builtin that fits.

EdgeError
├── RecipeError (ValueError)      a recipe that cannot be run as written
├── BundleError (ValueError)      a model bundle that is incomplete, altered or does not fit the recipe
├── EngineError (RuntimeError)    an engine that cannot load, run or reproduce the golden predictions
│   ├── EngineLost                its device does not answer any more
│   └── NotReproduced             it runs, and answers otherwise than the FP32 model
├── SourceError (OSError)         a camera, file or stream that cannot be opened or stopped delivering
├── SourceEnded (EOFError)        a file source that has delivered its last frame
├── PictureError (ValueError)     bytes that are no whole picture
├── LineError (RuntimeError)      the line cannot start or go on: name taken, port in use, stage broken
├── WireError (ValueError)        bytes that are no message of this version
├── SlotOverwritten (RuntimeError)  a slot was leased anew while an older part's data was wanted from it
└── PartError (ValueError)        one part cannot be judged; carries the reason of its `unknown`
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .text import DETAIL_BYTES, fitted

if TYPE_CHECKING:
    from .messages import UnknownReason


class EdgeError(Exception):
    """Anything that Linejudge itself reports; its text says what to do."""


class RecipeError(EdgeError, ValueError):
    """A recipe that cannot be run as written; names file and key."""


class BundleError(EdgeError, ValueError):
    """A model bundle that is incomplete, altered or does not fit; names the file."""


class EngineError(EdgeError, RuntimeError):
    """An engine that cannot load, cannot run or does not reproduce the golden predictions."""


class EngineLost(EngineError):
    """The device behind an engine does not answer any more: only a new process can go on."""


class NotReproduced(EngineError):
    """An engine that runs and answers a golden frame otherwise than the FP32 model did."""


class SourceError(EdgeError, OSError):
    """A camera, file or stream that cannot be opened or that stopped delivering."""


class SourceEnded(EdgeError, EOFError):
    """A file source has delivered its last frame."""


class PictureError(EdgeError, ValueError):
    """Bytes that are no whole picture; says what was expected and what was found."""


class LineError(EdgeError, RuntimeError):
    """The line cannot start or go on as a whole."""


class WireError(EdgeError, ValueError):
    """Bytes that are no message of this version."""


class SlotOverwritten(EdgeError, RuntimeError):
    """The slot's generation moved on: its data belong to a later part."""


class PartError(EdgeError, ValueError):
    """One part cannot be judged: it becomes `unknown` with this reason."""

    def __init__(self, reason: UnknownReason, detail: str) -> None:
        super().__init__(detail := fitted(detail, DETAIL_BYTES))
        self.reason: UnknownReason = reason
        self.detail = detail


def together(said: Sequence[str], most: int = 10) -> str:
    """Several mistakes as one text: the only one as it is, else how many and up to `most`, a line each."""
    if len(said) == 1:
        return said[0]
    rest = [f"and {len(said) - most} more"] if len(said) > most else []
    return "\n  ".join([f"{len(said)} mistakes:", *said[:most], *rest])
