"""Draws charts of a training and of test scores, and pages of pictures with their anomaly maps."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from edge.image.picture import grey
from trt_build.data.parts import frame_of, mask_of
from trt_build.figures.parts import JudgedPart
from trt_build.figures.ranking import escape_and_overkill, resize_map, sweep
from trt_build.terminal.plain_names import plain_name

GOOD, BAD, INK, FAINT, TRUTH = "#2f6db5", "#d95f30", "#222222", "#9a9a9a", "#00a6d6"
MAP_COLORS = LinearSegmentedColormap.from_list("anomaly map", ["#ffd54a", "#f57c00", "#b3001b"])
#: Quantiles of good parts' map values, at which colour starts and is full.
USUAL, RARE = 0.95, 0.999
WIDTH_IN = 11.0
#: Number of parts on a page, across and down, and the width of a part in inches.
ACROSS, DOWN = 3, 4
_STRIP_IN = 0.95 * WIDTH_IN / ACROSS
#: Gap between a part's two pictures, divided by their width.
_GAP = 0.02


def draw_training(progress: Path) -> Figure:
    """Draw the loss and the other figures of a training over its epochs, each figure in its own panel.

    The file `progress` has a line for each epoch. An incomplete line, left by a killed training, is ignored. If
    an epoch has two lines, the later line is used.
    """
    lines: dict[int, dict[str, Any]] = {}
    for text in progress.read_text().splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        lines[line["epoch"]] = line
    names = list(dict.fromkeys(name for line in lines.values() for name in line))
    names = [name for name in names if name not in ("epoch", "rate", "seconds")]
    rows = max(1, math.ceil(len(names) / 3))
    figure = Figure(figsize=(WIDTH_IN, 2.8 * rows), layout="constrained")
    panels = figure.subplots(rows, 3, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        epochs = [epoch for epoch in sorted(lines) if name in lines[epoch]]
        values = [lines[epoch][name] for epoch in epochs]
        axes.plot(epochs, values, color=INK, linewidth=1.4, marker="." if len(epochs) < 30 else "")
        if min(values) > 0 and max(values) > 20 * min(values):
            axes.set_yscale("log")
        _plain(axes, title=fill(plain_name(name) or name.replace("_", " "), 48), x="epoch", y=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in panels[len(names) :]:
        axes.remove()
    return figure


def draw_scores(judged: Sequence[JudgedPart], threshold: float) -> Figure:
    """Draw a histogram of the scores, and below it a row for each kind of defect with a dot for each part."""
    kinds = sorted({one.part.kind for one in judged}, key=lambda kind: (kind != "good", kind))
    figure = Figure(figsize=(WIDTH_IN, 2.8 + 0.34 * len(kinds)), layout="constrained")
    ratios = [2.4, 0.4 + 0.34 * len(kinds)]
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": ratios})
    values = np.array([one.score for one in judged])
    spread = values.min() > 0 and values.max() > 30 * values.min()
    bins = (np.geomspace if spread else np.linspace)(values.min(), values.max(), 41)
    for is_good, color, label in ((True, GOOD, "good"), (False, BAD, "defective")):
        chosen = [one.score for one in judged if one.part.is_good == is_good]
        if chosen:
            upper.hist(chosen, bins.tolist(), color=color, alpha=0.35)
            upper.hist(
                chosen,
                bins.tolist(),
                histtype="step",
                color=color,
                linewidth=1.6,
                label=f"{len(chosen)} {label}",
            )
    for row, kind in enumerate(kinds):
        chosen = [one.score for one in judged if one.part.kind == kind]
        # The points of a row are moved up and down so that they do not hide each other.
        lifts = [row + ((i * 0.618) % 1 - 0.5) * 0.5 for i in range(len(chosen))]
        lower.scatter(chosen, lifts, s=14, color=GOOD if kind == "good" else BAD, alpha=0.75, linewidths=0)
    if spread:
        lower.set_xscale("log")
    _plain(upper, title="How many test parts have which score", y="number of parts")
    _plain(lower, title="Each part, by kind", x="score (no unit; the higher, the less like a good part)")
    upper.yaxis.set_major_locator(MaxNLocator(integer=True))
    upper.tick_params(bottom=False)
    lower.set_yticks(range(len(kinds)), [kind.replace("_", " ") for kind in kinds])
    lower.set_ylim(len(kinds) - 0.4, -0.6)
    for axes in (upper, lower):
        if math.isfinite(threshold):
            axes.axvline(
                threshold, color=INK, linewidth=1.2, linestyle="--", label=f"threshold {threshold:.4g}"
            )
    upper.legend(frameon=False, fontsize=9, loc="upper right")
    return figure


def draw_roc(good: npt.NDArray[np.float64], bad: npt.NDArray[np.float64], threshold: float) -> Figure:
    """Draw the ROC curve from the scores of good and defective parts, and mark the threshold on it."""
    ranked = sweep(good, bad)
    escape, overkill = escape_and_overkill(good, bad, threshold)
    figure = Figure(figsize=(5.0, 5.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(*ranked.roc(), color=INK, linewidth=1.6, label="each threshold")
    x, y = overkill.rate, 1 - escape.rate
    axes.errorbar(
        x,
        y,
        xerr=[[x - overkill.low], [overkill.high - x]],
        yerr=[[escape.high - escape.rate], [escape.rate - escape.low]],
        color=BAD,
        marker="o",
        linewidth=1.2,
        label=f"the threshold {threshold:.4g}, with 95 % intervals",
        clip_on=False,
    )
    axes.set(xlim=(-0.01, 1), ylim=(0, 1.01), aspect="equal")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    _plain(
        axes,
        title=f"What each threshold would reject (AUROC {ranked.auroc:.4f})",
        x="good parts rejected: overkill",
        y="defective parts rejected: 100 % less escapes",
    )
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return figure


def map_scale(judged: Sequence[JudgedPart]) -> tuple[float, float]:
    """Return the two map values at which colour starts and is full. Both are quantiles of good parts' maps."""
    maps = [one.map.ravel() for one in judged if one.part.is_good] or [one.map.ravel() for one in judged]
    low, high = np.quantile(np.concatenate(maps), (USUAL, RARE))
    return float(low), float(max(high, low + 1e-12))


def draw_parts(judged: Sequence[JudgedPart], scale: tuple[float, float]) -> Figure:
    """Draw up to 12 parts: each picture, and beside it a grey copy with the anomaly map and the true defect."""
    frames = [frame_of(one.part) for one in judged]
    tallest = [max(map(_rise, frames[at : at + ACROSS])) for at in range(0, len(frames), ACROSS)]
    heights = [0.3 + min(_STRIP_IN * rise, 2.2) for rise in tallest]
    total = sum(heights) + 0.4
    figure = Figure(figsize=(WIDTH_IN, total))
    edges = {"left": 0.005, "right": 0.995, "top": 1 - 0.25 / total, "bottom": 0.35 / total}
    grid = figure.add_gridspec(len(heights), ACROSS, height_ratios=heights, wspace=0.05, **edges)
    for place, (one, frame) in enumerate(zip(judged, frames, strict=True)):
        _draw_part(one, frame, scale, figure.add_subplot(grid[divmod(place, ACROSS)]))
    bar = figure.add_axes((0.36, 0.1 / total, 0.28, 0.09 / total))
    bar.imshow(MAP_COLORS(np.linspace(0, 1, 256))[np.newaxis], aspect="auto")
    bar.set_axis_off()
    words: dict[str, Any] = {"size": 8, "color": INK, "va": "center", "transform": bar.transAxes}
    bar.text(
        -0.015, 0.4, f"value that {100 * (1 - USUAL):.3g} % of good parts' pixels reach", ha="right", **words
    )
    bar.text(1.015, 0.4, f"value that {100 * (1 - RARE):.3g} % reach", ha="left", **words)
    if not all(one.part.is_good for one in judged):
        bar.text(1.55, 0.4, "blue outline: the true defect", ha="left", **words)
    return figure


def _rise(frame: npt.NDArray[np.uint8]) -> float:
    """Return height divided by width of the space that two copies of a picture need side by side."""
    return float(frame.shape[0] / ((2 + _GAP) * frame.shape[1]))


def _draw_part(one: JudgedPart, frame: npt.NDArray[np.uint8], scale: tuple[float, float], axes: Axes) -> None:
    """Draw a part's picture (BGR or grey), and beside it the same picture in grey under its anomaly map."""
    height, width = frame.shape[:2]
    strength = np.clip((resize_map(one.map, (height, width)) - scale[0]) / (scale[1] - scale[0]), 0, 1)
    layer = MAP_COLORS(strength)
    layer[..., 3] = 0.8 * np.sqrt(strength)
    shift = (1 + _GAP) * width
    here, there = (0, width, height, 0), (shift, shift + width, height, 0)
    axes.imshow(frame[..., ::-1] if frame.ndim == 3 else frame, cmap="gray", vmin=0, vmax=255, extent=here)
    axes.imshow(grey(frame), cmap="gray", vmin=0, vmax=255, extent=there)
    axes.imshow(layer, extent=there)
    outlines, _ = cv2.findContours(
        mask_of(one.part, (height, width)).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    for outline in outlines:
        x, y = np.concatenate((outline, outline[:1]))[:, 0].T + 0.5
        axes.plot(x + shift, y, color="white", linewidth=2.4)
        axes.plot(x + shift, y, color=TRUTH, linewidth=1.2)
    axes.set(xlim=(0, shift + width), ylim=(height, 0), anchor="NW")
    axes.set_title(f"{one.part.name}   score {one.score:.3g}", size=8, color=INK, loc="left", pad=3)
    axes.set_axis_off()


def _plain(axes: Axes, *, title: str = "", x: str = "", y: str = "") -> None:
    """Set the title and labels of a chart, and remove the frame at its top and right."""
    axes.set_title(title, size=10, color=INK, loc="left")
    axes.set_xlabel(x, size=9, color=INK)
    axes.set_ylabel(y, size=9, color=INK)
    axes.tick_params(colors=INK, labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
