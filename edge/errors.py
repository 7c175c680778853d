"""Defines Linejudge's errors. Each one is also a subclass of the builtin error that fits.

EdgeError
├── RecipeError (ValueError)      a recipe cannot be run as it is written
├── BundleError (ValueError)      a model bundle is incomplete or altered, or does not fit the recipe
├── EngineError (RuntimeError)    an engine cannot load or run, or does not reproduce the golden frames
│   ├── EngineLost                the engine's device, such as a GPU, no longer answers
│   └── NotReproduced             an engine runs, but its outputs differ from the FP32 model's
├── SourceError (OSError)         a camera, file or stream cannot be opened, or fails while it is read
├── SourceEnded (EOFError)        a source has delivered its last frame
├── EncoderError (OSError)        an encoder cannot be opened, or it stopped reporting its count
├── PictureError (ValueError)     bytes are not a whole picture
├── RecordingError (ValueError)   a black-box file is damaged, or is not of the recipe or bundle that replays it
├── JournalError (OSError)        a journal cannot be read or written
│   ├── JournalFull               the disk of a journal is full
│   └── JournalDamaged            the file of a journal is damaged
├── LineError (RuntimeError)      the line cannot start or continue: name taken, port in use, stage failed
├── ReportError (ValueError)      a report of a challenge test cannot be written, or was changed
├── WireError (ValueError)        bytes are not a message of this version
├── SlotOverwritten (RuntimeError)  a slot was given to a later part before the earlier part was done
└── PartError (ValueError)        one part cannot be judged; the verdict is `unknown`, for the error's reason
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .text import DETAIL_BYTES, fitted

if TYPE_CHECKING:
    from .messages import UnknownReason


class EdgeError(Exception):
    """The base class of all errors that Linejudge itself reports. The text of an error says what to do."""


class RecipeError(EdgeError, ValueError):
    """A recipe cannot be run as it is written. The text names the file and the key."""


class BundleError(EdgeError, ValueError):
    """A model bundle is incomplete or altered, or does not fit the recipe. The text names the file."""


class EngineError(EdgeError, RuntimeError):
    """An engine cannot load, cannot run, or does not reproduce the outputs in the bundle's golden frames."""


class EngineLost(EngineError):
    """The engine's device, such as a GPU, no longer answers. Only a new process can continue."""


class NotReproduced(EngineError):
    """An engine runs, but its outputs for a golden frame differ from the outputs of the FP32 model."""


class SourceError(EdgeError, OSError):
    """A camera, file or stream cannot be opened, or it stopped delivering frames."""


class SourceEnded(EdgeError, EOFError):
    """A source has delivered its last frame, so no more parts will come."""


class EncoderError(EdgeError, OSError):
    """The belt's encoder cannot be opened, or it stopped reporting its count."""


class PictureError(EdgeError, ValueError):
    """Bytes are not a whole picture. The text says what was expected and what was found."""


class RecordingError(EdgeError, ValueError):
    """A black-box file is damaged, or the recipe or bundle is not that of its line. The text names the file."""


class JournalError(EdgeError, OSError):
    """A journal cannot be read or written. The text names the file."""


class JournalFull(JournalError):
    """A journal cannot be written because its disk is full."""


class JournalDamaged(JournalError):
    """The file of a journal is damaged: what it holds is not what was written."""


class LineError(EdgeError, RuntimeError):
    """The line as a whole cannot start or cannot continue."""


class ReportError(EdgeError, ValueError):
    """A report of a challenge test cannot be made or written, or was changed after it was signed."""


class WireError(EdgeError, ValueError):
    """Bytes are not a message of this version of Linejudge."""


class SlotOverwritten(EdgeError, RuntimeError):
    """A part's slot in shared memory was given to a later part, so the earlier part's data is lost."""


class PartError(EdgeError, ValueError):
    """One part cannot be judged. The part's verdict becomes `unknown`, and `reason` says why."""

    def __init__(self, reason: UnknownReason, detail: str) -> None:
        super().__init__(detail := fitted(detail, DETAIL_BYTES))
        self.reason: UnknownReason = reason
        self.detail = detail


def together(said: Sequence[str], most: int = 10) -> str:
    """Combine the texts of several errors: their number, and at most `most` of them, one per line.

    A single text is returned unchanged.
    """
    if len(said) == 1:
        return said[0]
    rest = [f"and {len(said) - most} more"] if len(said) > most else []
    return "\n  ".join([f"{len(said)} mistakes:", *said[:most], *rest])
