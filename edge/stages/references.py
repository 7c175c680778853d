"""Keeps what engines compute from the masters, within a limit of memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from ..engines.base import Engine, Image, Reference
from ..tiles import Grid


class References:
    """Keeps the results that an engine computes from the masters, because the engine compares parts with them.

    An engine's result for a tile of a master is called a reference. If all references take more than
    `limit_bytes`, those of the least recently used master are dropped.
    """

    def __init__(
        self, engine: Engine, master: Callable[[str], Image], limit_bytes: int, grid: Grid | None = None
    ) -> None:
        """`master` returns a view's master, a whole picture `(1, C, H, W)` uint8, or raises PartError.

        `grid` cuts it into tiles. If `grid` is None, it is the only tile.
        """
        self.master = master
        self._engine, self._limit_bytes, self._grid = engine, limit_bytes, grid
        self._kept: OrderedDict[str, list[Reference]] = OrderedDict()
        self._nbytes = 0

    def warm(self, views: Iterable[str]) -> None:
        """Compute the references of these views before parts come, until they take `limit_bytes`."""
        for view in views:
            if self._nbytes >= self._limit_bytes:
                return
            self(view)

    def latest(self) -> list[Reference]:
        """Return the references of the view that was used last; an empty list if none are kept."""
        return next(reversed(self._kept.values()), [])

    def __call__(self, view: str) -> list[Reference]:
        """Return the references of a view's tiles; compute them if they are not kept.

        Raise PartError if there is no master.
        """
        if view in self._kept:
            self._kept.move_to_end(view)
            return self._kept[view]
        master = self.master(view)
        tiles = self._grid.cut(master) if self._grid else [master]
        made = [self._engine.reference(tile) for tile in tiles]
        self._kept[view] = made
        self._nbytes += _nbytes(made)
        while self._nbytes > self._limit_bytes and len(self._kept) > 1:
            self._nbytes -= _nbytes(self._kept.popitem(last=False)[1])
        return made


def _nbytes(references: Iterable[Reference]) -> int:
    return sum(reference.nbytes for reference in references)
