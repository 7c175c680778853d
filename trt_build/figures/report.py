"""Writes a report of a training and its evaluation as one HTML file, and its charts also as PNG."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from edge.manifest import Threshold
from trt_build.figures.charts import ACROSS, DOWN, draw_parts, draw_roc, draw_scores, draw_training, map_scale
from trt_build.figures.parts import JudgedPart
from trt_build.figures.ranking import Rate, escape_of, image_auroc, overkill_of
from trt_build.terminal.plain_names import plain_name

#: Highest number of pages for escapes, and for overkills.
PAGES = 2
DPI = 130

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1120px; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.6em } h2 { font-size: 1.15em; margin: 2.2em 0 .6em }
table { border-collapse: collapse }
td, th { padding: .15em 1.4em .15em 0; text-align: left; font-weight: normal }
th { color: #444 } code { color: #888; font-size: .85em } td { font-variant-numeric: tabular-nums }
img { max-width: 100%; display: block }
"""


def write_report(
    folder: Path,
    *,
    title: str,
    judged: Sequence[JudgedPart] = (),
    calibration: Threshold | None = None,
    figures: Mapping[str, float] | None = None,
    facts: Mapping[str, object] | None = None,
    progress: Path | None = None,
) -> Path:
    """Write `report.html` and its charts as PNG to `folder`. Return the path of the HTML file.

    An earlier report is replaced. `judged` are test parts, compared with the threshold in `calibration`.
    `figures` are further quality figures, `facts` describe the training, and `progress` is the
    file `progress.jsonl` of the training. The report leaves out what the caller does not give.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in ("escapes-*.png", "overkills-*.png", "training.png", "scores.png", "roc.png"):
        for old in folder.glob(pattern):
            old.unlink()
    body = [f"<h1>{escape(title)}</h1>"]
    if calibration is not None:
        body.append(f"<p>Threshold {calibration.threshold:.4g}, set with {calibration.n} good parts. ")
        body.append(f"{escape(calibration.note)}</p>")
    body.extend(_evaluation(folder, judged, calibration, dict(figures or {})))
    if progress is not None:
        body += ["<h2>Training</h2>", _picture(folder / "training.png", draw_training(progress))]
    if facts:
        body += ["<h2>Facts</h2>", _table(dict(_flat(facts)))]
    page = folder / "report.html"
    page.write_text(
        "<!doctype html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n",
        encoding="utf-8",
        # File names may contain bytes that are not UTF-8.
        errors="backslashreplace",
    )
    return page


def _evaluation(
    folder: Path, judged: Sequence[JudgedPart], calibration: Threshold | None, figures: dict[str, float]
) -> Iterator[str]:
    """Yield pieces of HTML with the quality figures, the charts, and the parts that were judged wrongly."""
    good = np.array([one.score for one in judged if one.part.is_good])
    bad = np.array([one.score for one in judged if not one.part.is_good])
    both = len(good) and len(bad)
    said: dict[str, str] = {}
    if calibration is not None:
        said |= {"escape": _rate_text(escape_of(bad, calibration.threshold))} if len(bad) else {}
        said |= {"overkill": _rate_text(overkill_of(good, calibration.threshold))} if len(good) else {}
    said |= {"image_auroc": f"{image_auroc(good, bad):.4f}"} if both else {}
    said |= {name: f"{value:.4f}" for name, value in figures.items() if name not in said}
    if said:
        yield _table(said)
    if calibration is None or not judged:
        return
    threshold = calibration.threshold
    yield "<h2>Scores</h2>"
    yield _picture(folder / "scores.png", draw_scores(judged, threshold))
    if both:
        yield "<h2>Escapes against overkill</h2>"
        yield _picture(folder / "roc.png", draw_roc(good, bad, threshold))
    scale = map_scale(judged)
    escaped = sorted((o for o in judged if not o.part.is_good and o.score < threshold), key=lambda o: o.score)
    killed = sorted((o for o in judged if o.part.is_good and o.score >= threshold), key=lambda o: -o.score)
    for name, heading, worst in (
        ("escapes", "Escapes: defective parts that pass, the lowest score first", escaped),
        ("overkills", "Overkill: good parts that are rejected, the highest score first", killed),
    ):
        shown = worst[: PAGES * ACROSS * DOWN]
        yield f"<h2>{heading}</h2>"
        yield f"<p>{len(shown)} of {len(worst)} shown.</p>" if worst else "<p>None.</p>"
        for start in range(0, len(shown), ACROSS * DOWN):
            path = folder / f"{name}-{start // (ACROSS * DOWN) + 1}.png"
            yield _picture(path, draw_parts(shown[start : start + ACROSS * DOWN], scale))


def _picture(path: Path, figure: Figure) -> str:
    """Write a chart as PNG to `path`, and return an HTML image that contains it."""
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<img alt="{path.stem}" src="data:image/png;base64,{data}">'


def _table(rows: Mapping[str, str]) -> str:
    """Return an HTML table of names and values. Quality figures get a name in words beside the short name."""
    cells = (
        f"<tr><th>{escape(plain_name(name) or name.replace('_', ' '))}</th><td>{escape(value)}</td>"
        f"<td>{f'<code>{escape(name)}</code>' if plain_name(name) else ''}</td></tr>"
        for name, value in rows.items()
    )
    return "<table>" + "".join(cells) + "</table>"


def _flat(facts: Mapping[str, object], before: str = "") -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each value in nested `facts`. `before` is put before each name."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}, ")
        elif value is None or isinstance(value, bool):
            yield f"{before}{name}", "yes" if value else "no"
        elif isinstance(value, list | tuple):
            yield f"{before}{name}", ", ".join(map(str, value))
        else:
            yield f"{before}{name}", f"{value:.4g}" if isinstance(value, float) else str(value)


def _rate_text(rate: Rate) -> str:
    """Return a rate with its confidence interval as text for people."""
    interval = f"{100 * rate.low:.1f} to {100 * rate.high:.1f} % with 95 % confidence"
    return f"{rate.count} of {rate.of}: {100 * rate.rate:.1f} %, {interval}"
