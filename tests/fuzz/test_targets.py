"""What reads foreign bytes reads the seeds of fuzzing, and refuses by its own error what fuzzing found."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from fuzz_targets import TARGETS

FOUND = Path(__file__).parent / "found"
#: These seeds are whole as bytes, and refused for what they are about.
REFUSED = {("request", "unknown"), ("request", "none"), ("box", "box"), ("journal", "of others")}
CHANGES = 200


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_are_read(name: str) -> None:
    """Else fuzzing would begin with refused inputs and never reach the code behind."""
    target = TARGETS[name]
    for seed, data in target.seeds().items():
        if (name, seed) not in REFUSED:
            target.read(data)


@pytest.mark.parametrize("path", sorted(FOUND.glob("*/*")), ids=lambda path: f"{path.parent.name} {path.name}")
def test_what_fuzzing_found_is_refused(path: Path) -> None:
    """By the error that belongs to it."""
    target = TARGETS[path.parent.name]
    with pytest.raises(target.allowed or AssertionError):
        target.read(path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_changed_seeds_are_read_or_refused(name: str) -> None:
    """Cut, with other bytes, or with a piece of another seed: no other error ever comes."""
    target, rng = TARGETS[name], random.Random(name)
    seeds = list(target.seeds().values())
    for _ in range(CHANGES):
        data = bytearray(rng.choice(seeds))
        at, other = rng.randrange(len(data)), rng.choice(seeds)
        change = rng.randrange(4)
        if change == 0:
            del data[at:]
        elif change == 1:
            del data[at : at + rng.randrange(1, 9)]
        elif change == 2:
            data[at] = rng.randrange(256)
        else:
            data[at:at] = other[rng.randrange(len(other)) :][: rng.randrange(1, 99)]
        target(bytes(data))
