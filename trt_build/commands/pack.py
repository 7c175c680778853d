"""The command `trt-build pack`, which makes a bundle from a draft."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from edge.bundle import read_draft
from edge.errors import BundleError
from edge.manifest import Precision
from edge.text import readable, text_of
from trt_build.commands.export import print_multiply_adds
from trt_build.methods.table import method_of
from trt_build.terminal.console import console
from trt_build.terminal.progress import working


def pack(
    draft: Annotated[
        Path,
        typer.Argument(help="Folder of the draft, after calibrate has set its threshold.", show_default=False),
    ],
    bundle: Annotated[
        Path, typer.Argument(help="Folder to make for the bundle; it must not exist yet.", show_default=False)
    ],
    data: Annotated[
        Path,
        typer.Option(help="Folder that was trained with; tolerances are measured on its held-out pictures."),
    ],
    golden: Annotated[
        Path | None,
        typer.Option(help="Folder of pairs for a comparator's golden frames; left out, --data is used."),
    ] = None,
    masters: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a comparator's masters, <view>.png each, to put into the bundle; left out, recipes "
            "name them."
        ),
    ] = None,
    precision: Annotated[
        Precision | None,
        typer.Option(
            help="Pack the graphs of FP32 and of this precision only, for a smaller bundle; left out, all."
        ),
    ] = None,
    notice: Annotated[
        Path | None, typer.Option(help="Text file with licences and credits, to put into the bundle.")
    ] = None,
) -> None:
    """Make a bundle from a calibrated draft, and add golden frames, tolerances, masters and digests."""
    from trt_build.data.cases import pair_cases
    from trt_build.data.pairs import read_pairs
    from trt_build.packing.pack import pack as pack_bundle

    manifest = read_draft(draft).manifest
    with working("judging held-out pictures"):
        packed = pack_bundle(
            draft,
            bundle,
            cases=method_of(manifest.method).held_out(data, manifest.picture),
            golden=pair_cases(read_pairs(golden), manifest.input) if golden else (),
            masters=_by_view(masters) if masters else {},
            precision=precision,
            notice=_read_notice(notice) if notice else "",
        )
    # A machine that packs FP32 and INT8 alone needs no onnx.
    if find_spec("onnx"):
        print_multiply_adds(packed)
    console.print(f"bundle {packed.folder}, SHA-256 {packed.digest}")


def _read_notice(path: Path) -> str:
    try:
        return text_of(path.read_bytes())
    except ValueError as error:
        raise BundleError(f"{path}: {error}") from error


def _by_view(masters: Path) -> dict[str, Path]:
    """Return the masters in a folder; the keys are their views. Raise BundleError if there are none."""
    found = {readable(path.stem): path for path in sorted(masters.glob("*.png"))}
    if not found:
        raise BundleError(f"{masters}: expected masters, <view>.png each, found none")
    return found
