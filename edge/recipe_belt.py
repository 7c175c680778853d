"""Finds contradictions between a recipe's belt, its cameras and its ejector."""

from __future__ import annotations

from collections.abc import Iterator

from .recipe import Recipe, SimulatedBelt, SimulatedEncoder

#: A trigger is known this long after it came: the least time between the last camera and the ejector.
ENTRY_MS = 50


def wrong_belt(recipe: Recipe) -> Iterator[str]:
    """Yield a message for each mistake in [belt], [ejector] and the places of the [[camera]] sections."""
    belt, ejector = recipe.belt, recipe.ejector
    if (belt.by == "encoder") != (belt.encoder is not None):
        said = "names no encoder: write [belt.encoder]" if belt.by == "encoder" else "needs none: take it out"
        yield f'[belt] by: a belt by {belt.by} {said}, or by = "{_other(belt.by)}"'
    if isinstance(belt.encoder, SimulatedEncoder):
        encoder = belt.encoder
        if encoder.back_s and encoder.back_s >= encoder.stop_every_s:
            yield "[belt.encoder] back_s: the belt would never get ahead: make it shorter than stop_every_s"
    yield from _wrong_places(recipe)
    if ejector is None and belt.by == "encoder" and len(recipe.cameras) > 1:
        yield "[ejector]: with an encoder and several cameras, write where the ejector is: at, in ticks"
    if ejector and ejector.min_gap >= ejector.at:
        yield (f"[ejector] min_gap: {ejector.min_gap:g} is not less than at, {ejector.at:g}: make it smaller")
    if belt.by == "time":
        yield from _too_late(recipe)
    yield from _wrong_simulation(recipe)


def _wrong_simulation(recipe: Recipe) -> Iterator[str]:
    """Yield a message for each mistake in the cameras of a simulated belt."""
    is_simulated = isinstance(recipe.belt.encoder, SimulatedEncoder)
    for camera in recipe.cameras:
        source = camera.source
        if isinstance(source, SimulatedBelt) and recipe.belt.by == "encoder" and not is_simulated:
            yield f'"{camera.name}" source: a simulated belt needs kind = "simulated" in [belt.encoder]'
        if isinstance(source, SimulatedBelt) and source.jitter > source.pitch / 8:
            yield (
                f'"{camera.name}" source.jitter: {source.jitter:g} is more than an eighth of pitch, '
                f"{source.pitch:g}: make it smaller"
            )


def _wrong_places(recipe: Recipe) -> Iterator[str]:
    """Yield a message for each camera whose place or window is missing or out of order."""
    if recipe.camera and recipe.camera[0].at:
        yield f'[[camera]] "{recipe.camera[0].name}" at: the first camera is at 0: count from there'
    for camera in recipe.camera[1:]:
        if camera.window is None:
            yield (
                f'[[camera]] "{camera.name}" window: say how far from `at` a part may be seen: less than half '
                "of the distance of two parts"
            )


def _too_late(recipe: Recipe) -> Iterator[str]:
    """Yield a message if a part would have to be decided before the last camera has seen it."""
    last = max(recipe.cameras, key=lambda camera: camera.at + (camera.window or 0))
    needed_ms = last.at + (last.window or 0) + ENTRY_MS if last.at or last.window else 0
    timing, ejector = recipe.timing, recipe.ejector
    if ejector:
        key, found_ms = "[ejector] at", ejector.at - ejector.lead_ms - timing.guard_ms
        needed_ms = max(needed_ms, ejector.min_gap + ENTRY_MS if ejector.min_gap else 0)
    else:
        key, found_ms = "[timing] deadline_ms", timing.deadline_ms - timing.guard_ms
    if found_ms <= needed_ms and (ejector or needed_ms):
        yield (
            f"{key}: a part has to be decided {found_ms:g} ms after the first camera, but all is known only "
            f'{needed_ms:g} ms after it (camera "{last.name}", its window, min_gap, and {ENTRY_MS} ms): '
            "make it larger, or move the cameras together"
        )


def _other(by: str) -> str:
    return "time" if by == "encoder" else "encoder"
