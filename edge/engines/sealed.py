"""Reads and writes sealed files, which begin with the SHA-256 of the rest, so that damage is noticed."""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import suppress
from pathlib import Path

_log = logging.getLogger(__name__)
_DIGEST = hashlib.sha256().digest_size


def read_sealed(path: Path, otherwise: str) -> bytes:
    """Return what a sealed file holds. Return nothing if the file is missing or damaged.

    A damaged file is named in a warning, which ends with `otherwise`, what is done without the file.
    """
    try:
        data = path.read_bytes() if os.path.isfile(path) else b""
    except OSError as error:
        _log.warning("%s: cannot be read: %s: %s", path, error.strerror, otherwise)
        return b""
    digest, rest = data[:_DIGEST], data[_DIGEST:]
    if data and hashlib.sha256(rest).digest() != digest:
        _log.warning("%s: was cut short or altered: %s", path, otherwise)
        return b""
    return rest


def write_sealed(path: Path, data: bytes, otherwise: str) -> None:
    """Replace a sealed file's content at once, so that no reader ever finds half of it.

    If the file cannot be written, log a warning, which ends with `otherwise`, what follows from that.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(hashlib.sha256(data).digest() + data)
        part.replace(path)
    except OSError as error:
        _log.warning("%s: cannot be kept: %s: %s", path, error.strerror, otherwise)
        with suppress(OSError):
            part.unlink()
