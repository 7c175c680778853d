"""`trt-build` in a process of its own, as a person runs it, with an autoencoder that is trained in a second."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from trt_build import __main__
from trt_build.backbones import published
from trt_build.methods import loop as train
from trt_build.methods.autoencoder import network
from trt_build.methods.autoencoder import train as train_autoencoder
from trt_build.methods.autoencoder.network import AutoencoderConfig

SMALL = partial(AutoencoderConfig, backbone="mobilenet_v2", height=32, width=32, code=4, hidden=16)

#: Moments of a training: whose function is called then, and the how manieth time.
MOMENTS: dict[str, tuple[Any, str, int]] = {
    "looking at pictures": (train_autoencoder, "_look", 2),
    "before a step": (train._Run, "_step", 15),
    "writing a checkpoint": (os, "fsync", 2),
    "noting progress": (train.json, "dumps", 2),
}


def command(words: list[str], weights: Path, said: Path, moment: str | None = None) -> None:
    """Runs `trt-build` with these words; what it says goes to a file. Ctrl-C comes at the moment, if any.

    `weights` stand in for the backbone's published file.
    """
    for number in (1, 2):
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.environ["XDG_CACHE_HOME"] = str(weights.parent)
    published.cache_folder().mkdir(parents=True, exist_ok=True)
    placed = published.cache_folder() / weights.name
    placed.write_bytes(weights.read_bytes())
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    published.PUBLISHED["mobilenet_v2"] = published.Published(file=weights.name, sha256=digest)
    network.AutoencoderConfig = SMALL  # type: ignore[assignment, misc]
    if moment is not None:
        owner, name, times = MOMENTS[moment]
        setattr(owner, name, _interrupted(getattr(owner, name), times))
    sys.argv = ["trt-build", *words]
    print("begins", flush=True)
    __main__.main()


def _interrupted(function: Callable[..., Any], times: int) -> Callable[..., Any]:
    calls = iter(range(1, times + 1))

    def call(*arguments: Any, **options: Any) -> Any:
        if next(calls, None) == times:
            os.kill(os.getpid(), signal.SIGINT)
        return function(*arguments, **options)

    return call
