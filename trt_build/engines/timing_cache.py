"""Keeps the times that TensorRT measured in earlier builds on this device, so that later builds are faster."""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from edge.engines.compiled import Target
from trt_build.caches import user_cache

_log = logging.getLogger(__name__)
_DIGEST = hashlib.sha256().digest_size


def timing_file(target: Target) -> Path | None:
    """Return the file of measured times for this kind of GPU and library, or None without a cache folder."""
    folder = user_cache("timing")
    major, minor = target.compute_capability or (0, 0)
    return folder and folder / f"{target.runtime}-{target.version}-sm{major}{minor}.cache"


def use_timings(config: Any, path: Path) -> None:
    """Load measured times from a file into a builder's `config`. A missing or damaged file counts as empty."""
    # TensorRT checks only the header of the measurements, so a digest before them protects the rest.
    try:
        data = path.read_bytes() if os.path.isfile(path) else b""
    except OSError as error:
        _log.warning("%s: cannot be read: %s: measuring anew", path, error.strerror)
        data = b""
    digest, timings = data[:_DIGEST], data[_DIGEST:]
    if data and hashlib.sha256(timings).digest() != digest:
        _log.warning("%s: was cut short or altered: measuring anew", path)
        timings = b""
    cache = config.create_timing_cache(timings)
    if cache is None or not config.set_timing_cache(cache, False):
        _log.warning("%s: TensorRT does not take it on this device: measuring anew", path)
        config.set_timing_cache(config.create_timing_cache(b""), False)


def keep_timings(config: Any, path: Path) -> None:
    """Replace the file's content by all times in `config`. Log a warning if the file cannot be written."""
    cache = config.get_timing_cache()
    if cache is None:
        return
    timings = bytes(cache.serialize())
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(hashlib.sha256(timings).digest() + timings)
        part.replace(path)
    except OSError as error:
        _log.warning("%s: cannot be kept: %s: the next build measures anew", path, error.strerror)
        with suppress(OSError):
            part.unlink()
