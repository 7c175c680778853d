"""What infer knows of each camera: its ring, the shape of its frames, and its judges with their engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..engines.base import Engine
from ..image.warp import Warper
from ..judges.gallery import Gallery
from ..memory.ring import Ring
from ..tiles import Grid
from .references import References


@dataclass(frozen=True, kw_only=True)
class JudgeEngine:
    """A judge's engine, the warper that makes the engine's inputs, and what the engine compares parts with."""

    engine: Engine
    warper: Warper
    references: References | None = None  # of the masters, for a model that compares parts with a master
    gallery: Gallery | None = None  # for a model that compares parts with drawings
    grid: Grid | None = None  # how the picture is cut into tiles; None: the engine takes it as it is
    stride: int = 1  # input pixels between neighbouring cells of the map

    @property
    def tiles(self) -> int:
        """The number of samples that the engine computes for a part."""
        return self.grid.count if self.grid else 1

    @property
    def can_warm(self) -> bool:
        """Whether it is worth to run the engine before parts come, and there is something to run it on."""
        return self.engine.starts_cold and (self.references is None or bool(self.references.latest()))

    @property
    def fills_slot(self) -> bool:
        """Whether the engine's outputs are those that the slot takes, neither joined nor scored first."""
        return self.grid is None and self.gallery is None


@dataclass(frozen=True, kw_only=True)
class Looks:
    """What infer has of one camera: the ring with its frames, their shape, and the judges that inspect them.

    `frame` is `(H, W)` or `(H, W, 3)`. Judges of the same bundle, of this or another camera, share an engine.
    """

    ring: Ring
    frame: tuple[int, ...]
    judges: Sequence[JudgeEngine]

    def samples_for(self, engine: Engine) -> int:
        """Return the number of samples that one part gives to an engine."""
        return sum(judge.tiles for judge in self.judges if judge.engine is engine)
