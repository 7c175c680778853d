"""Features of masters are kept by view, within their memory."""

from __future__ import annotations

from dataclasses import dataclass

from edge.stages.references import References


@dataclass
class _Sized:
    view: str
    nbytes: int


class _Counting:
    """An engine that only makes references, and counts them."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def reference(self, master: str) -> _Sized:
        self.made.append(master)
        return _Sized(master, 100)


def test_references_are_made_once_and_kept_within_their_memory() -> None:
    """The features of a master are computed once while there is room; the one not used longest goes first."""
    engine = _Counting()
    references = References(engine, lambda view: view, limit_bytes=250)  # type: ignore[arg-type, return-value]
    for view in "abaacabcb":
        assert [one.view for one in references(view)] == [view]  # type: ignore[attr-defined]
    assert "".join(engine.made) == "abcbc"
