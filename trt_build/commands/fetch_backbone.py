"""The command `trt-build fetch-backbone`, which downloads a pre-trained network."""

from __future__ import annotations

from typing import Annotated

import typer

from trt_build.terminal.console import console


def fetch_backbone(
    name: Annotated[
        str,
        typer.Argument(
            help="Network to download: resnet18, resnet34, resnet50 or wide_resnet50_2.", show_default=False
        ),
    ],
) -> None:
    """Download a ResNet from its publisher and verify it. Then train --backbone finds it by its name."""
    from trt_build.backbones.published import fetch_backbone as fetch

    console.print(f"{name} is in {fetch(name)}")
