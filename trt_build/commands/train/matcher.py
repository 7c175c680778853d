"""The command `trt-build train matcher`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from trt_build.commands.arguments import Data
from trt_build.commands.train.shared import AsPublished, Epochs, Run, Seed, given, training


def matcher(
    data: Data,
    run: Run,
    epochs: Epochs = None,
    seed: Seed = 0,
    as_published: AsPublished = False,
    letters: Annotated[
        bool,
        typer.Option(
            "--letters",
            help="For letters and marks, dark on white: their place and their size make no difference.",
        ),
    ] = False,
    batch: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Pairs in a batch; left out, 64, with --letters 32, as published 128.",
            show_default=False,
        ),
    ] = None,
    pairs_per_epoch: Annotated[
        int | None,
        typer.Option(
            min=2, help="Pairs in an epoch, with --as-published; left out, 180000.", show_default=False
        ),
    ] = None,
    stop_from: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Epoch from which a flat test loss ends the training, with --as-published; left out, 150.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Learn to tell whether a photo shows the product that a drawing shows."""
    from trt_build.methods.matcher.batches import CHARACTERS, PairSampling, Sampling, SinglePairs
    from trt_build.methods.matcher.network import LETTERS, SOURCE, MatcherConfig
    from trt_build.methods.matcher.split import pictures_to_train
    from trt_build.methods.matcher.train import AS_PUBLISHED, LETTERS_TRAINING, TRAINING, train_matcher

    if letters and as_published:
        raise typer.BadParameter("not with --as-published, whose network is another", param_hint="--letters")
    for option, value in (("--pairs-per-epoch", pairs_per_epoch), ("--stop-from", stop_from)):
        if value is not None and not as_published:
            raise typer.BadParameter("does nothing without --as-published", param_hint=option)
    sampling: Sampling
    if as_published:
        network, config, sampling = SOURCE, AS_PUBLISHED, SinglePairs()
    elif letters:
        network, config, sampling = LETTERS, LETTERS_TRAINING, CHARACTERS
    else:
        network, config, sampling = MatcherConfig(), TRAINING, PairSampling()
    config = replace(config, seed=seed, **given(epochs=epochs, stop_from=stop_from))
    sampling = replace(sampling, **given(pairs=batch, per_epoch=pairs_per_epoch))
    least = 2 if as_published else sampling.pairs
    with training():
        split = pictures_to_train(data, network.spec, products=least)
        held_out = split.known_photos if as_published else split.open
        train_matcher(split.train, held_out, run, network=network, training=config, sampling=sampling)
