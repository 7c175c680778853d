"""Runs the encoder process, which writes the belt's position into shared memory as the encoder reports it."""

from __future__ import annotations

from ...belt.encoders import open_encoder
from ...belt.odometer import Odometer
from ...belt.track import Track
from ..run_folder import track_path
from . import Run


def run(run: Run) -> None:
    """Follow the encoder until the stop signal comes. The position goes on where a process before left it."""
    belt = run.plan.recipe.belt
    assert belt.encoder is not None
    track = Track.open(track_path(run.folder))
    with open_encoder(belt.encoder) as encoder:
        odometer = Odometer(encoder.modulus, belt.most_ticks_per_s, track.last)
        is_ready = False
        while not run.liveness.stopping:
            run.liveness.beat()
            if (reading := encoder.read()) is None:
                continue
            at_ns, count = reading
            track.write(at_ns, odometer.position(at_ns, count), count)
            if not is_ready:
                run.liveness.ready()
                is_ready = True
