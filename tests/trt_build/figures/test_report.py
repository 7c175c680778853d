from __future__ import annotations

import base64
import json
import re
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest

for name in ("scipy", "matplotlib"):
    pytest.importorskip(name, reason=f"needs {name}, which only building models uses")

from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from trt_build.data.parts import LabelledPart  # noqa: E402
from trt_build.figures.charts import draw_parts, draw_roc, draw_scores, draw_training, map_scale  # noqa: E402
from trt_build.figures.parts import JudgedPart, figures_of  # noqa: E402
from trt_build.figures.report import DPI, write_report  # noqa: E402
from trt_build.packing.calibrate import conformal  # noqa: E402

CALIBRATION = conformal(np.linspace(0, 1, 39), rate=0.05)  # the threshold is between 0.97 and 0.98
OUTLINE, FULL_ON_BLACK = "#00a6d6", "#8f0016"


def judge(folder: Path, kind: str, number: int, score: float, colour: bool = True) -> JudgedPart:
    """A picture of 30x40 in light grey; a defective one has a black spot, where the map has the score."""
    name = f"{kind}-{number}"
    picture = np.full((30, 40, 3) if colour else (30, 40), 180, np.uint8)
    map_ = np.zeros((1, 15, 20), np.float32)
    map_[0, 5:8, 10:14] = score
    mask = None
    if kind != "good":
        picture[10:16, 20:28] = 0
        spot = np.zeros((30, 40), np.uint8)
        spot[10:16, 20:28] = 255
        mask = folder / f"{name}_mask.png"
        cv2.imwrite(str(mask), spot)
    cv2.imwrite(str(folder / f"{name}.png"), picture)
    part = LabelledPart(name=f"{kind}/{number:03}", kind=kind, path=folder / f"{name}.png", mask=mask)
    return JudgedPart(part=part, score=score, map=map_)


@pytest.fixture
def judged(tmp_path: Path) -> list[JudgedPart]:
    """Six good parts, two of them rejected; eight defective ones, three of them passed."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    good = [judge(folder, "good", i, score) for i, score in enumerate([0.1, 0.3, 0.5, 0.8, 1.5, 1.2])]
    bad = [
        judge(folder, "crack" if i % 2 else "a <b> & c", i, score, colour=i > 3)
        for i, score in enumerate([0.2, 0.7, 0.4, 2, 3, 4, 5, 6])
    ]
    return [*good, *bad]


def drawn(page: str) -> dict[str, bytes]:
    """The pictures within a page."""
    found = re.findall(r'<img alt="([^"]+)" src="data:image/png;base64,([^"]+)">', page)
    return {name: base64.b64decode(data) for name, data in found}


def pixels(figure: Figure) -> np.ndarray:
    """A figure as it is drawn, `(H, W, 4)`."""
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(200)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def near(picture: np.ndarray, colour: str) -> int:
    """How many pixels of a drawing are of a colour."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(picture[..., :3].astype(int) - wanted).max(axis=-1) < 12).sum())


def test_the_report_is_one_file_with_everything_in_it(judged: list[JudgedPart], tmp_path: Path):
    """It can be mailed: no picture, style or script is fetched, and the PNGs beside it are the same ones."""
    (tmp_path / "progress.jsonl").write_text('{"epoch": 1, "loss": 2.0}\n{"epoch": 2, "loss": 1.0}\n')
    path = write_report(
        tmp_path / "report",
        title="pill, STPM",
        judged=judged,
        calibration=CALIBRATION,
        figures={"AUPRO to 30 %": 0.91234},
        facts={"backbone": "mobilenet_v2", "pictures": 209},
        progress=tmp_path / "progress.jsonl",
    )
    page = path.read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!data:)|<script|@import|url\(', page)
    pictures = drawn(page)
    assert list(pictures) == ["scores", "roc", "escapes-1", "overkills-1", "training"]
    for name, data in pictures.items():
        assert (path.parent / f"{name}.png").read_bytes() == data
        assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None
    for said in ("pill, STPM", CALIBRATION.note, "0.9123", "mobilenet_v2", "209", "39 good parts"):
        assert said in page


def test_escapes_and_overkill_are_counted_at_the_threshold(judged: list[JudgedPart], tmp_path: Path):
    """Numbers and pages agree with what the threshold does: a score that equals it is rejected."""
    at = [judge(tmp_path, kind, 9, CALIBRATION.threshold) for kind in ("good", "crack")]
    page = write_report(tmp_path / "r", title="t", judged=[*judged, *at], calibration=CALIBRATION).read_text()
    assert "3 of 9: 33.3 %" in page
    assert "3 of 7: 42.9 %, 9.9 to 81.6 % with 95 % confidence" in page
    assert page.count("<p>3 of 3 shown.</p>") == 2


def test_names_cannot_break_the_page(judged: list[JudgedPart], tmp_path: Path):
    """A title with signs of HTML is shown as it is."""
    page = write_report(tmp_path / "r", title="a <b> & c", facts={"<i>": "</table>"}).read_text()
    assert "<h1>a &lt;b&gt; &amp; c</h1>" in page
    assert "<th>&lt;i&gt;</th><td>&lt;/table&gt;</td>" in page


def test_pages_of_an_earlier_report_do_not_stay(judged: list[JudgedPart], tmp_path: Path):
    """After a better training no old escape lies beside the new report; other files stay."""
    folder = tmp_path / "r"
    write_report(folder, title="t", judged=judged, calibration=CALIBRATION)
    (folder / "notes.png").touch()
    page = write_report(
        folder, title="t", judged=[one for one in judged if one.score > 1.9], calibration=CALIBRATION
    )
    assert sorted(p.name for p in folder.iterdir()) == ["notes.png", "report.html", "scores.png"]
    assert page.read_text().count("<p>None.</p>") == 2


def test_good_parts_alone_make_a_report(judged: list[JudgedPart], tmp_path: Path):
    """Where there is no defective part yet, scores and overkill are shown, and no AUROC is invented."""
    good = [one for one in judged if one.part.is_good]
    page = write_report(tmp_path / "r", title="t", judged=good, calibration=CALIBRATION).read_text()
    assert list(drawn(page)) == ["scores", "overkills-1"]
    assert "AUROC" not in page


def test_the_worst_come_first_and_fill_two_pages(tmp_path: Path):
    """Of thirty escapes the twenty-four lowest are shown, of two overkilled parts the higher one leads."""
    escaped = [judge(tmp_path, "crack", i, (i * 7 % 30) / 40) for i in range(30)]
    killed = [judge(tmp_path, "good", i, 2.0 + i) for i in range(2)]
    many = [*escaped, *killed]
    page = write_report(tmp_path / "r", title="t", judged=many, calibration=CALIBRATION).read_text()
    assert "<p>24 of 30 shown.</p>" in page
    assert [name for name in drawn(page) if name not in ("scores", "roc")] == [
        "escapes-1",
        "escapes-2",
        "overkills-1",
    ]
    ranked = sorted(escaped, key=lambda one: one.score)
    for name, worst in (
        ("escapes-1", ranked[:12]),
        ("escapes-2", ranked[12:24]),
        ("overkills-1", killed[::-1]),
    ):
        expected = BytesIO()
        draw_parts(worst, map_scale(many)).savefig(expected, dpi=DPI, metadata={"Software": None})
        assert drawn(page)[name] == expected.getvalue()


def test_a_defect_is_outlined_and_its_heat_shown(judged: list[JudgedPart]):
    """One sees where the true defect is, and where the model saw something; a good part has no outline."""
    scale = (0.5, 1.0)
    hot, cold, good = (pixels(draw_parts([one], scale)) for one in (judged[-1], judged[6], judged[3]))
    assert min(near(hot, OUTLINE), near(cold, OUTLINE)) > 50 > near(good, OUTLINE) == 0
    assert near(hot, FULL_ON_BLACK) > 200 > near(cold, FULL_ON_BLACK) == 0


def test_a_colour_picture_keeps_its_colours(tmp_path: Path):
    """Red is not drawn as blue."""
    cv2.imwrite(str(tmp_path / "red.png"), np.full((20, 20, 3), (10, 20, 240), np.uint8))
    part = LabelledPart(name="good/red", kind="good", path=tmp_path / "red.png")
    page = pixels(draw_parts([JudgedPart(part=part, score=1.0, map=np.zeros((1, 5, 5), np.float32))], (1, 2)))
    assert near(page, "#f0140a") > 1000


def test_pictures_of_all_sizes_and_empty_masks_are_drawn(tmp_path: Path):
    """Tall and wide tiles share a page, and a defect without a place has no outline."""
    mask = tmp_path / "mask.png"
    cv2.imwrite(str(mask), np.zeros((90, 20), np.uint8))
    shapes = [(90, 20), (20, 90), (50, 50), (33, 47)]
    pages = []
    for i, shape in enumerate(shapes):
        path = tmp_path / f"{i}.png"
        cv2.imwrite(str(path), np.full(shape, 120, np.uint8))
        part = LabelledPart(
            name=f"k/{i}", kind="k" if i == 0 else "good", path=path, mask=mask if i == 0 else None
        )
        pages.append(JudgedPart(part=part, score=1.0, map=np.ones((1, 4, 4), np.float32)))
    assert near(pixels(draw_parts(pages, (0.5, 2.0))), OUTLINE) == 0


def test_the_heat_is_measured_by_good_parts(judged: list[JudgedPart]):
    """The colours mean the same on every page: how rarely a pixel of a good part is so hot."""
    rng = np.random.default_rng(0)
    part = judged[0].part
    good = [JudgedPart(part=part, score=1, map=rng.random((1, 50, 50), np.float32)) for _ in range(20)]
    assert map_scale([*good, judged[-1]]) == pytest.approx((0.95, 0.999), abs=2e-3)


@pytest.mark.parametrize(("more", "scale"), [(1, "linear"), (0, "log")])
def test_scores_are_shown_by_kind_on_either_side_of_the_threshold(
    judged: list[JudgedPart], more: float, scale: str
):
    """Good and defective parts have their own colours, each kind its row, and the threshold a line."""
    spread = [JudgedPart(part=one.part, score=one.score + more, map=one.map) for one in judged]
    figure = draw_scores(spread, 0.97)
    upper, lower = figure.axes
    assert lower.get_xscale() == scale
    assert [label.get_text() for label in lower.get_yticklabels()] == ["good", "a <b> & c", "crack"]
    picture = pixels(figure)
    assert min(near(picture, "#2f6db5"), near(picture, "#d95f30")) > 30
    said = [text.get_text() for text in upper.get_legend().get_texts()]
    assert said == ["6 good", "8 defective", "threshold 0.97"]


def test_the_roc_shows_what_the_threshold_chooses():
    """The marked point is the rate of rejected good and defective parts."""
    good, bad = np.arange(10.0), np.arange(5.0, 15.0)
    axes = draw_roc(good, bad, 7.0).axes[0]
    (marked,) = [container for container in axes.containers]
    assert marked.lines[0].get_xydata().tolist() == [[0.3, 0.8]]
    assert axes.get_title(loc="left") == "What each threshold would reject (AUROC 0.8750)"


def test_training_is_drawn_whatever_a_kill_left(tmp_path: Path):
    """A cut line is left out, a repeated epoch counts once, and what is noted now and then is drawn too."""
    lines = [{"epoch": e, "loss": 100 / 4**e, "rate": 0.1, "seconds": 2} for e in (1, 2, 3, 3, 4)]
    lines[3]["loss"] = 7.0
    lines[4]["map_mean"] = 0.25
    path = tmp_path / "progress.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + '\n{"epoch": 5, "lo')
    loss, mean = draw_training(path).axes
    assert loss.lines[0].get_xydata().tolist() == [[1, 25.0], [2, 6.25], [3, 7.0], [4, 0.390625]]
    assert loss.get_yscale() == "log"
    assert (mean.get_title(loc="left"), mean.lines[0].get_xydata().tolist()) == ("map mean", [[4, 0.25]])


def test_each_figure_is_said_in_plain_words(judged: list[JudgedPart], tmp_path: Path):
    """Beside the short name that programs print stands what the figure says."""
    figures = figures_of(judged, (30, 40), 0.97)
    path = write_report(tmp_path / "r", title="t", judged=judged, calibration=CALIBRATION, figures=figures)
    rows = re.findall(r"<tr><th>(.*?)</th><td>(.*?)</td><td><code>(.*?)</code></td></tr>", path.read_text())
    assert {short for _, _, short in rows} == set(figures)
    for plain, _, _ in rows:
        assert len(plain.split()) > 4
        assert "_" not in plain


def test_facts_are_told_with_sensible_digits(tmp_path: Path):
    """Nobody reads Python's brackets or nine digits."""
    facts = {"network": {"weight": 0.123456789, "layers": [1, 2], "second": None}, "calibrated": True}
    page = write_report(tmp_path / "r", title="t", facts=facts).read_text()
    rows = re.findall(r"<tr><th>(.*?)</th><td>(.*?)</td>", page)
    assert rows == [
        ("network, weight", "0.1235"),
        ("network, layers", "1, 2"),
        ("network, second", "no"),
        ("calibrated", "yes"),
    ]


def test_every_chart_says_what_its_axes_are(judged: list[JudgedPart], tmp_path: Path):
    """A title, a name along each axis, and whole numbers where things are counted."""
    (tmp_path / "p").write_text('{"epoch": 1, "loss": 2.0, "unlike": 3.0}\n{"epoch": 2, "loss": 1.0}\n')
    upper, lower = draw_scores(judged, 0.97).axes
    roc = draw_roc(np.arange(10.0), np.arange(5.0, 15.0), 7.0).axes
    training = draw_training(tmp_path / "p").axes
    for axes in (upper, lower, *roc, *training):
        assert axes.get_title(loc="left")
    for axes in (*roc, *training):
        assert axes.get_xlabel()
        assert axes.get_ylabel()
    assert (upper.get_ylabel(), lower.get_xlabel().split(" (")[0]) == ("number of parts", "score")
    assert [axes.get_ylabel() for axes in training] == ["loss", "unlike"]
    counts = [*upper.get_yticks(), *training[0].get_xticks()]
    assert counts == [round(count) for count in counts]
    assert roc[0].get_legend().get_texts()[0].get_text() == "each threshold"
