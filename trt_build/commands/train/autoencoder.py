"""The command `trt-build train autoencoder`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import typer

from trt_build.commands.arguments import Data
from trt_build.commands.train.shared import (
    Backbone,
    Epochs,
    MixedSizes,
    PictureSize,
    PictureTiles,
    Run,
    Seed,
    given,
    sides,
    training,
)


def autoencoder(
    data: Data,
    run: Run,
    epochs: Epochs = None,
    seed: Seed = 0,
    input: Annotated[
        Literal["features", "pixels"],
        typer.Option(
            help="What is encoded and decoded: features of a pre-trained network, which find more defects, or "
            "the pixels of a picture."
        ),
    ] = "features",
    backbone: Backbone = None,
    size: PictureSize = None,
    tiles: PictureTiles = None,
    mixed_sizes: MixedSizes = False,
    code: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How many numbers a code has: with features each cell of 16x16 pixels has a code (left out, 8 "
            "numbers), with pixels the whole picture has one (left out, 128).",
        ),
    ] = None,
    decoder_layers: Annotated[
        int | None,
        typer.Option(
            help="Number of convolutions in the decoder: with features 1 to 8 (left out, 2), with pixels 2 to "
            "6 (left out, 6). With fewer layers, the decoder is smoother."
        ),
    ] = None,
    distance: Annotated[
        Literal["mse", "ssim", "both"],
        typer.Option(
            help="How a picture and its reconstruction are compared: mean squared error, structural "
            "similarity, or the mean of both."
        ),
    ] = "mse",
    centre: Annotated[
        Literal["fixed", "moving"],
        typer.Option(
            help="What the centre of the codes does in training: stay at the mean code of the first eighth of "
            "the epochs, or follow the codes as a running mean."
        ),
    ] = "fixed",
    pull: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Weight of the codes' distance from their centre; left out, 1 with features, 0.1 with pixels.",
        ),
    ] = None,
    smoothness: Annotated[
        Literal["exact", "forward", "reverse", "none"],
        typer.Option(
            help="How the decoder is kept smooth: by the exact norm of its Jacobian (slow with pixels), by "
            "random projections of its inputs (forward) or outputs (reverse), or not at all."
        ),
    ] = "forward",
    smoothness_weight: Annotated[
        float | None,
        typer.Option(min=0, help="Weight of the norm of the decoder's Jacobian; left out, 0.01."),
    ] = None,
    spectral: Annotated[
        bool,
        typer.Option(
            "--spectral",
            help="Divide each layer's weights in the decoder by their largest singular value (spectral "
            "normalisation); goes well with --smoothness none.",
        ),
    ] = False,
) -> None:
    """Learn to encode and decode good parts: a part that is reconstructed badly is unusual.

    This is the method of the patent JP 7735801 B2. The score adds how far a code
    is from the centre of good codes, and how far the reconstruction is from the
    picture.
    """
    from trt_build.methods.autoencoder.network import PIXELS, AutoencoderConfig
    from trt_build.methods.autoencoder.task import PIXEL_LOSSES, LossConfig
    from trt_build.methods.autoencoder.train import PIXEL_TRAINING, TRAINING, train_autoencoder

    if input == "pixels":
        if backbone is not None:
            raise typer.BadParameter("not used with --input pixels: leave it out", param_hint="--backbone")
        network, losses, config = PIXELS, PIXEL_LOSSES, PIXEL_TRAINING
    else:
        network, losses, config = AutoencoderConfig(), LossConfig(), TRAINING
    network = replace(
        network,
        distance=distance,
        spectral=spectral,
        **given(backbone=backbone, code=code, decoder_layers=decoder_layers),
        **sides(size),
    )
    losses = replace(
        losses, jacobian=smoothness, centre=centre, **given(pull=pull, smoothness=smoothness_weight)
    )
    config = replace(config, seed=seed, **given(epochs=epochs))
    with training():
        train_autoencoder(
            data,
            run,
            network=network,
            training=config,
            loss_config=losses,
            mixed_sizes=mixed_sizes,
            tiles=tiles or (1, 1),
        )
