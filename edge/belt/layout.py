"""Converts the places of a recipe's cameras and ejector, in ms or ticks, into positions of the belt."""

from __future__ import annotations

from dataclasses import dataclass

from ..recipe import Recipe
from .match import Station
from .places import NOWHERE

MS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the cameras behind the first one and the ejector are, in the unit of positions.

    By time a position is a time of the monotonic clock in nanoseconds; by encoder it is a number of ticks.
    """

    stations: tuple[Station, ...] = ()  # the cameras behind the first one
    by_encoder: bool = False
    several: bool = False  # the recipe has [[camera]] sections, so that verdicts tell the looks
    eject_at: int | None = None
    lead_ns: int = 0
    min_gap: int = 0
    deadline_ns: int = 0  # from capture to the deadline if there is no ejector, or where a part is not known

    def station(self, camera: str) -> Station | None:
        """Return the station of a camera; None for the first camera, which makes the parts."""
        return next((station for station in self.stations if station.name == camera), None)

    def tick(self, position: int) -> int | None:
        """Return the position at which a part is at the ejector; None if that is not known."""
        return None if self.eject_at is None or position == NOWHERE else position + self.eject_at


def layout_of(recipe: Recipe) -> Layout:
    """Return the layout of a recipe's line. The recipe has been checked."""
    by_encoder = recipe.belt.by == "encoder"
    unit = 1 if by_encoder else MS

    def place(value: float) -> int:
        return round(value * unit)

    ejector = recipe.ejector
    return Layout(
        stations=tuple(
            Station(name=camera.name, at=place(camera.at), window=place(camera.window or 0))
            for camera in recipe.cameras[1:]
        ),
        by_encoder=by_encoder,
        several=bool(recipe.camera),
        eject_at=place(ejector.at) if ejector else None,
        lead_ns=round(ejector.lead_ms * MS) if ejector else 0,
        min_gap=place(ejector.min_gap) if ejector else 0,
        deadline_ns=round(recipe.timing.deadline_ms * MS),
    )
