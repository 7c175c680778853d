"""Defines what every encoder does: report its count, and the time at which it was read."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

#: Time between two readings of a count that can be read at any time.
PERIOD_S = 0.002
#: An encoder that reports no count for this time has failed.
SILENT_S = 1.0
#: What to do about an encoder that was there before.
CHECK = "check its cable and its power"


class Counting(Protocol):
    """An encoder. `with` opens it, and raises EncoderError if that is impossible."""

    @property
    def modulus(self) -> int:
        """The number of values that the count has before it starts again; 0: it never does."""
        ...

    def __enter__(self) -> Counting: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def read(self) -> tuple[int, int] | None:
        """Return the next reading: its time in nanoseconds of the monotonic clock, and the count.

        Return None after a tenth of a second without a count. Raise EncoderError if the encoder is lost.
        """
        ...
