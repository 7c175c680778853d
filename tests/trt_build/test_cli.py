"""The command line `trt-build`: what a person types, and what it answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import altered

import trt_build as package
from edge.bundle import read_model
from trt_build.__main__ import app
from trt_build.data.pairs import read_pairs

Run = Callable[..., tuple[int, str, str]]
COMMANDS = ("render", "fetch-backbone", "train", "export", "calibrate", "pack", "verify", "evaluate")
HEAVY = ("torch", "scipy", "matplotlib", "onnx")


@pytest.fixture(scope="module")
def anomaly_bundle(
    calibrated_anomaly: Path, part_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """As `pack` makes it."""
    bundle = tmp_path_factory.mktemp("packed") / "line-7"
    app(["pack", str(calibrated_anomaly), str(bundle), "--data", str(part_folder)], standalone_mode=False)
    return bundle


def test_help_names_every_step(trt_build: Run) -> None:
    """A newcomer sees the way from pictures to a bundle, in the order in which it is gone."""
    status, out, _ = trt_build("--help")
    assert status == 0
    places = [out.index(f"│ {command} ") for command in COMMANDS]
    assert places == sorted(places)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_says_what_it_takes(trt_build: Run, command: str) -> None:
    """Without a library that it would need to run, and without an error."""
    status, out, err = trt_build(command, "--help")
    assert (status, err) == (0, "")
    assert f"trt-build {command} [OPTIONS]" in out


def test_a_comparators_draft_becomes_a_bundle(
    trt_build: Run, pcb_draft: Path, pcb_pairs: Path, copy: Callable[[Path], Path], tmp_path: Path
) -> None:
    """The four commands that need no torch, one after another."""
    draft, bundle, notice = copy(pcb_draft), tmp_path / "bundle", tmp_path / "NOTICE"
    notice.write_text("made here")
    status, out, _ = trt_build("calibrate", draft, pcb_pairs)
    assert (status, "open" in out, "next: trt-build pack" in out) == (0, True, True)

    packing = ("pack", draft, bundle, "--data", pcb_pairs, "--golden", pcb_pairs, "--notice", notice)
    assert trt_build(*packing)[0] == 0
    assert read_model(bundle).manifest.notice == "made here"

    status, out, _ = trt_build("verify", bundle)
    assert (status, "all 4 golden frames are reproduced" in out) == (0, True)

    status, out, _ = trt_build("evaluate", bundle, pcb_pairs, "--report", tmp_path / "worst")
    assert (status, "map33" in out, "pictures in" in out) == (0, True, True)


def test_a_draft_of_good_parts_becomes_a_bundle(
    trt_build: Run, anomaly_draft: Path, part_folder: Path, copy: Callable[[Path], Path], tmp_path: Path
) -> None:
    """One folder all the way; the promise is said in words, and each part's verdict is told in advance."""
    draft, bundle, verdicts = copy(anomaly_draft), tmp_path / "bundle", tmp_path / "verdicts.jsonl"
    status, out, _ = trt_build("calibrate", draft, part_folder, "--rate", 0.2)
    assert status == 0
    assert "On average over calibrations at most 20 % of good parts are rejected. (" in out
    assert "good parts on openvino int8)" in out

    status, out, _ = trt_build("pack", draft, bundle, "--data", part_folder)
    assert (status, read_model(bundle).digest in out) == (0, True)
    # Of three convolutions of 9, 3 and 3 multiply-adds a pixel, the last is INT8.
    rows = {
        line.split()[0]: [float(one) for one in line.split()[2::2]] for line in out.splitlines() if "│" in line
    }
    assert rows == {"judge.fp32.onnx": [0, 100, 0], "judge.int8.onnx": [0, 80, 20]}

    status, out, _ = trt_build("verify", bundle, "--data", part_folder)
    assert status == 0
    assert "pictures decided otherwise: 0 of 22 (none)" in out
    assert "AUROC: " in out

    status, out, _ = trt_build("evaluate", bundle, part_folder, "--verdicts", verdicts)
    assert (status, "aupro30" in out, f"verdicts in {verdicts}" in out) == (0, True, True)
    lines = [json.loads(line) for line in verdicts.read_text().splitlines()]
    assert len(lines) == 22
    assert {line["reject"] for line in lines} == {True, False}


def test_a_matchers_draft_becomes_a_bundle(
    trt_build: Run, matcher_draft: Path, product_folder: Path, copy: Callable[[Path], Path], tmp_path: Path
) -> None:
    """One folder of products all the way."""
    draft, bundle = copy(matcher_draft), tmp_path / "bundle"
    assert trt_build("calibrate", draft, product_folder)[0] == 0
    assert trt_build("pack", draft, bundle, "--data", product_folder)[0] == 0
    status, out, _ = trt_build("verify", bundle, "--data", product_folder)
    assert (status, "AUROC: " in out) == (0, True)
    status, out, _ = trt_build("evaluate", bundle, product_folder)
    assert (status, "overkill" in out, "they are one product" in out, "top 5" in out) == (0, True, True, True)


def test_a_matcher_can_be_given_the_similarity_that_it_accepts(
    trt_build: Run, matcher_draft: Path, product_folder: Path, copy: Callable[[Path], Path]
) -> None:
    """The threshold is the least rejected score, so this very similarity passes; it promises no rate."""
    draft = copy(matcher_draft)
    status, out, _ = trt_build("calibrate", draft, product_folder, "--similarity", 0.5)
    manifest = read_model(draft).manifest
    assert (status, "good parts" in out, manifest.calibration) == (0, False, None)
    assert manifest.thresholds == {"product": pytest.approx(0.5)}
    assert manifest.thresholds["product"] > 0.5


def test_a_similarity_is_for_matchers_alone(
    trt_build: Run, anomaly_draft: Path, part_folder: Path, copy: Callable[[Path], Path]
) -> None:
    """The error names the option and the method, and the draft stays without a threshold."""
    draft = copy(anomaly_draft)
    status, _, err = trt_build("calibrate", draft, part_folder, "--similarity", 0.5)
    assert (status, "--similarity: does nothing for the method stpm" in err) == (2, True)
    assert read_model(draft).manifest.thresholds is None


def test_a_report_can_be_asked_for(
    trt_build: Run, anomaly_bundle: Path, part_folder: Path, tmp_path: Path
) -> None:
    """One HTML file, where it was asked for."""
    pytest.importorskip("matplotlib", reason="needs matplotlib, which only building models uses")
    status, out, _ = trt_build("evaluate", anomaly_bundle, part_folder, "--report", tmp_path / "report")
    assert (status, f"report in {tmp_path / 'report/report.html'}" in out) == (0, True)
    assert "<h1>line-7: stpm on " in (tmp_path / "report/report.html").read_text()


def test_rendered_boards_are_pairs(trt_build: Run, tmp_path: Path) -> None:
    """A first model needs no pictures of one's own."""
    assert trt_build("render", tmp_path / "pairs", "--boards", 2, "--size", 160)[0] == 0
    assert [pair.board.shape for pair in read_pairs(tmp_path / "pairs")] == [(160, 160)] * 2


WRONG = {
    "fetch-backbone": ("fetch-backbone", "oracle"),
    "calibrate, draft": ("calibrate", "{nowhere}", "{parts}"),
    "calibrate, data": ("calibrate", "{draft}", "{nowhere}"),
    "pack, draft": ("pack", "{nowhere}", "{new}", "--data", "{parts}"),
    "pack, data": ("pack", "{calibrated}", "{new}", "--data", "{nowhere}"),
    "pack, golden": ("pack", "{calibrated}", "{new}", "--data", "{parts}", "--golden", "{nowhere}"),
    "pack, masters": ("pack", "{calibrated}", "{new}", "--data", "{parts}", "--masters", "{nowhere}"),
    "pack, notice": ("pack", "{calibrated}", "{new}", "--data", "{parts}", "--notice", "{nowhere}"),
    "verify, bundle": ("verify", "{nowhere}"),
    "verify, data": ("verify", "{bundle}", "--data", "{nowhere}"),
    "evaluate, bundle": ("evaluate", "{nowhere}", "{parts}"),
    "evaluate, data": ("evaluate", "{bundle}", "{nowhere}"),
    "evaluate, verdicts": ("evaluate", "{bundle}", "{parts}", "--verdicts", "{nowhere}/verdicts.jsonl"),
}
NEED_TORCH = {
    "train, comparator": ("train", "comparator", "{nowhere}", "{new}"),
    "train, matcher": ("train", "matcher", "{nowhere}", "{new}"),
    "export": ("export", "{nowhere}", "{new}"),
    "evaluate, checkpoint": ("evaluate", "{file}", "{pairs}"),
    "evaluate, run": ("evaluate", "{bundle}", "{parts}", "--run", "{nowhere}"),
}


@pytest.mark.parametrize("which", [*WRONG, *NEED_TORCH])
def test_a_wrong_path_is_one_clear_line(
    trt_build: Run,
    request: pytest.FixtureRequest,
    anomaly_bundle: Path,
    part_folder: Path,
    tmp_path: Path,
    which: str,
) -> None:
    """No traceback for what the person can mend; the line names the path, and nothing is left half done."""
    if which in NEED_TORCH:
        pytest.importorskip("torch", reason="needs torch, which only building models uses")
    (tmp_path / "file").write_text("no checkpoint")
    where = {
        "draft": request.getfixturevalue("anomaly_draft"),
        "calibrated": request.getfixturevalue("calibrated_anomaly"),
        "bundle": anomaly_bundle,
        "parts": part_folder,
        "pairs": request.getfixturevalue("pcb_pairs"),
        "nowhere": tmp_path / "nowhere",
        "new": tmp_path / "new",
        "file": tmp_path / "file",
    }
    words = [word.format(**where) for word in (WRONG | NEED_TORCH)[which]]
    status, _, err = trt_build(*words)
    assert status == 1
    assert err.startswith("trt-build: ")
    assert err.count("\n") == 1
    assert any(name in err for name in ("nowhere", "'oracle'", str(tmp_path / "file")))
    assert not (tmp_path / "new").exists()


def test_all_that_is_wrong_with_a_folder_is_told_a_line_each(
    trt_build: Run, pcb_draft: Path, pcb_pairs: Path, copy: Callable[[Path], Path], tmp_path: Path
) -> None:
    """One sees at a glance which files are to be mended."""
    pairs = copy(pcb_pairs)
    for name in ("00", "01"):
        (pairs / f"{name}_test.png").write_bytes(b"no picture")
    status, _, err = trt_build("calibrate", pcb_draft, pairs)
    first, *said = err.splitlines()
    assert (status, first) == (1, "trt-build: 2 mistakes:")
    assert [line.split(": ")[0] for line in said] == [f"  {pairs}/{name}_test.png" for name in ("00", "01")]


def test_too_few_pairs_are_refused(
    trt_build: Run, pcb_draft: Path, pcb_pairs: Path, copy: Callable[[Path], Path], tmp_path: Path
) -> None:
    """Neither thresholds nor tolerances come from what the model was trained with."""
    few = tmp_path / "few"
    few.mkdir()
    for end in ("_temp.png", "_test.png", ".txt"):
        (few / f"00{end}").write_bytes((pcb_pairs / f"00{end}").read_bytes())
    draft = copy(pcb_draft)
    for command in (("calibrate", draft, few), ("pack", draft, tmp_path / "bundle", "--data", few)):
        status, _, err = trt_build(*command)
        assert (status, "none was kept from training" in err or "not set" in err) == (1, True)
    assert trt_build("calibrate", draft, pcb_pairs)[0] == 0
    status, _, err = trt_build("pack", draft, tmp_path / "bundle", "--data", few)
    assert (status, "none was kept from training" in err) == (1, True)


def test_an_engine_that_judges_otherwise_ends_with_status_1(
    trt_build: Run, score_bundle: Path, tmp_path: Path
) -> None:
    """So that a script stops there."""
    strict = altered(score_bundle, tmp_path / "bundle", tolerances={"fp32": {"map": 0.0, "score": -1.0}})
    status, _, err = trt_build("verify", strict)
    assert (status, err.count("\n")) == (1, 1)
    assert "golden frame golden/usual.png" in err


@pytest.mark.parametrize(
    ("model", "option"),
    [
        ("tiny_bundle", "--run"),
        ("tiny_bundle", "--verdicts"),
        ("score_bundle", "--chosen-on"),
        ("matcher_bundle", "--report"),
    ],
)
def test_an_option_that_does_nothing_is_refused(
    trt_build: Run, request: pytest.FixtureRequest, tmp_path: Path, model: str, option: str
) -> None:
    """Nobody waits for a file that is never written."""
    status, _, err = trt_build("evaluate", request.getfixturevalue(model), tmp_path, option, tmp_path)
    assert status == 2
    assert option in err
    assert "does nothing for the method" in err


@pytest.mark.parametrize(
    ("library", "words"),
    [
        ("torch", ("train", "comparator", "{parts}", "{new}")),
        ("torch", ("export", "{parts}", "{new}")),
        ("scipy", ("calibrate", "{draft}", "{parts}")),
        ("scipy", ("evaluate", "{bundle}", "{parts}")),
        ("matplotlib", ("evaluate", "{bundle}", "{parts}", "--report", "{new}")),
    ],
)
def test_a_missing_library_names_the_extra(
    trt_build: Run,
    monkeypatch: pytest.MonkeyPatch,
    anomaly_draft: Path,
    anomaly_bundle: Path,
    part_folder: Path,
    tmp_path: Path,
    library: str,
    words: tuple[str, ...],
) -> None:
    """On a machine without it the person reads what to install."""
    where = {"parts": part_folder, "draft": anomaly_draft, "bundle": anomaly_bundle, "new": tmp_path / "new"}
    for name in [name for name in sys.modules if name.startswith("trt_build.")]:
        monkeypatch.delitem(sys.modules, name)
    for name, value in list(vars(package).items()):
        # put back afterwards: importing a folder anew makes the new one an attribute of the package
        monkeypatch.setattr(package, name, value)
    monkeypatch.setitem(sys.modules, library, None)
    status, _, err = trt_build(*(word.format(**where) for word in words))
    assert (status, err) == (1, f"trt-build: {library} is not installed: pip install 'linejudge[build]'\n")


def test_the_commands_are_known_without_what_they_need() -> None:
    """`trt-build --help` answers at once on any machine."""
    heavy = {*HEAVY, "onnxruntime", "openvino"}
    script = f"import sys, trt_build.__main__; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "\n"


def test_packing_and_verifying_need_no_torch(calibrated_pcb: Path, pcb_pairs: Path, tmp_path: Path) -> None:
    """Bundles are packed on machines that never train: a comparator's takes nothing but an engine."""
    commands = [
        ["pack", str(calibrated_pcb), str(tmp_path / "bundle"), "--data", str(pcb_pairs)],
        ["verify", str(tmp_path / "bundle"), "--engine", "onnxruntime"],
    ]
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({HEAVY!r}))\n"
        "from trt_build.__main__ import app\n"
        f"for words in {commands!r}: app(words, standalone_mode=False)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert "golden frames are reproduced" in done.stdout
