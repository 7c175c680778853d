"""Simulated belts as rows of triggers: each camera's positions, and which board each of them is of."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from edge.belt.match import Station
from edge.belt.places import Places, places_of

#: Smallest distance between two boards; a window and the triggers' jitter at two cameras are smaller together.
PITCH, WINDOW, JITTER = 1000, 200, 50


@dataclass(frozen=True, kw_only=True)
class Rates:
    """How many of a camera's triggers are lost, doubled, and spurious."""

    lost: float = 0.0
    doubled: float = 0.0
    spurious: float = 0.0


@dataclass
class Line:
    """What each camera enters: positions, and the board at each of them; None stands for an empty belt."""

    stations: list[Station]
    positions: list[list[int]] = field(default_factory=list)
    boards: list[list[int | None]] = field(default_factory=list)
    at: list[int] = field(default_factory=list)  # where each board really is, counted at the first camera

    def places(self, camera: int) -> Places:
        return places_of(enumerate(self.positions[camera]))

    def is_plain(self, board: int) -> bool:
        """Whether each camera entered the board exactly once, and nothing else near to it."""

        def near(camera: int, most: int) -> list[int | None]:
            place = self.at[board] + self.stations[camera].at
            seen = zip(self.positions[camera], self.boards[camera], strict=True)
            return [shown for position, shown in seen if abs(position - place) <= most]

        return all(near(n, 3 * WINDOW) == near(n, JITTER) == [board] for n in range(len(self.stations)))


def belt(seed: int, cameras: int, boards: int, rates: Rates) -> Line:
    """A belt with boards at random distances, seen by cameras at random places; the first one is at 0."""
    rng = random.Random(seed)
    at = sorted(rng.randrange(0, 20 * PITCH) for _ in range(cameras - 1))
    stations = [Station(name=f"c{n}", at=place, window=WINDOW) for n, place in enumerate([0, *at])]
    line = Line(stations)
    position = 0
    for _ in range(boards):
        position += PITCH + rng.choice([0, 0, rng.randrange(PITCH)])
        line.at.append(position)
    for station in stations:
        seen: list[tuple[int, int | None]] = []
        for board, place in enumerate(line.at):
            here = place + station.at + rng.randint(-JITTER, JITTER)
            if rng.random() >= rates.lost:
                seen.append((here, board))
                if rng.random() < rates.doubled:
                    seen.append((here + rng.randint(0, 2 * JITTER), board))
            if rng.random() < rates.spurious:
                where = place + rng.randrange(PITCH)
                seen.append((where + station.at, _board_at(where, line.at)))
        seen.sort(key=lambda one: one[0])
        line.positions.append([position for position, _ in seen])
        line.boards.append([board for _, board in seen])
    return line


def _board_at(where: int, boards: list[int]) -> int | None:
    """Which board a camera shows that is triggered here: it sees as far as a look may lie from its part."""
    nearest = min(range(len(boards)), key=lambda board: abs(boards[board] - where))
    return nearest if abs(boards[nearest] - where) <= WINDOW + JITTER else None
