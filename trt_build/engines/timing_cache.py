"""Keeps the times that TensorRT measured in earlier builds on this device, so that later builds are faster."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from edge.engines.compiled import Target
from edge.engines.sealed import read_sealed, write_sealed
from trt_build.caches import user_cache

_log = logging.getLogger(__name__)


def timing_file(target: Target) -> Path | None:
    """Return the file of measured times for this kind of GPU and library, or None without a cache folder."""
    folder = user_cache("timing")
    major, minor = target.compute_capability or (0, 0)
    return folder and folder / f"{target.runtime}-{target.version}-sm{major}{minor}.cache"


def use_timings(config: Any, path: Path) -> None:
    """Load measured times from a file into a builder's `config`. A missing or damaged file counts as empty."""
    # TensorRT checks only the header of the measurements, so the file is sealed.
    cache = config.create_timing_cache(read_sealed(path, "measuring anew"))
    if cache is None or not config.set_timing_cache(cache, False):
        _log.warning("%s: TensorRT does not take it on this device: measuring anew", path)
        config.set_timing_cache(config.create_timing_cache(b""), False)


def keep_timings(config: Any, path: Path) -> None:
    """Replace the file's content by all times in `config`. Log a warning if the file cannot be written."""
    cache = config.get_timing_cache()
    if cache is not None:
        write_sealed(path, bytes(cache.serialize()), "the next build measures anew")
