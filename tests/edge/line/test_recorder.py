"""A line with a recorder: what it keeps of real parts, and that the frames give the same verdicts again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from belt_lines import CAMERAS, belt_recipe, truth_of
from lines import UNHURRIED, Subscriber, is_running, judged, line_name, running, stop, until, write_recipe

from edge.demo import FOLDER
from edge.errors import BundleError, RecordingError
from edge.messages import Verdict
from edge.pictures import decode
from edge.pictures.png_text import text_in
from edge.recorder.box import HEAD, PARTS, Box, Row
from edge.recorder.writer import VERDICT
from edge.replay.replay import replay
from edge.wire import verdict_from

BUNDLE = FOLDER / "bundle"
#: Pictures of real boards, one of a design that has no master, one with defects; then good ones.
MASTER, DEFECT = BUNDLE / "master/design-1.png", BUNDLE / "golden/design-1-open.png"
SOURCE = 'kind = "folder"\nfiles = "frames/*.{view}.png"\nwidth = 640\nheight = 640\nfps = 5\n'
#: A crop, and a core that the engine has for itself.
KEYS = "[preprocess]\ncrop = [8, 8, 624, 624]\n[engine]\nthreads = 1\n"
RECORDER = '[recorder]\nfolder = "kept"\npasses = 1.0\nreserve_mb = 0\n'


class Kept:
    """What a line that has ended left: its verdicts, and the folder of its recorder."""

    def __init__(self, folder: Path, verdicts: list[Verdict], recipe: Path) -> None:
        self.verdicts, self.recipe = verdicts, recipe
        self.folder = folder / "kept" / line_name(folder)
        self.boxes = sorted((self.folder / "boxes").rglob("*.zip"))
        self.pictures = sorted((self.folder / "pictures").rglob("*.png"))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "frames").mkdir()
    for number, (path, view) in enumerate(
        [(MASTER, "design-1"), (DEFECT, "design-1"), (MASTER, "design-9"), (MASTER, "design-1")]
    ):
        (folder / f"frames/{number}.{view}.png").write_bytes(path.read_bytes())
    recipe = write_recipe(folder, None, SOURCE, f"{KEYS}{UNHURRIED}{RECORDER}")
    recipe.write_text(recipe.read_text().replace("[source]", f'bundle = "{BUNDLE}"\n[source]', 1))
    with Subscriber(folder) as subscriber, running(recipe) as line:
        status, said = line.wait()
        until(lambda: len(subscriber.verdicts) == 4, "all verdicts are heard")
    assert status == 0, said
    return Kept(folder, [verdict for _, verdict in subscriber.verdicts], recipe)


def test_each_part_has_its_own_picture(kept: Kept) -> None:
    """Pixel by pixel the frame that was judged, with the verdict that was published, for each of the parts."""
    assert [verdict.verdict for verdict in kept.verdicts] == ["pass", "reject", "unknown", "pass"]
    assert len(kept.pictures) == len(kept.verdicts)
    for verdict, path, expected in zip(
        kept.verdicts, kept.pictures, (MASTER, DEFECT, MASTER, MASTER), strict=True
    ):
        assert path.name == f"{verdict.part_id}_camera_{verdict.verdict}_{verdict.reason}.png"
        data = path.read_bytes()
        assert np.array_equal(decode(data, path.name), cv2.imread(str(expected), cv2.IMREAD_GRAYSCALE))
        assert verdict_from(text_in(data, VERDICT)) == verdict


def test_the_unknown_part_has_a_black_box_with_those_before_and_after(kept: Kept) -> None:
    """One file with all four parts, their verdicts byte by byte, and what is needed to judge them again."""
    (path,) = kept.boxes
    assert path.name.endswith("_unknown-view.zip")
    with Box(path) as box:
        head, rows = box.head(), list(box.rows())
    assert [verdict_from(bytes(row.verdict)) for row in rows] == kept.verdicts
    assert [row.number for row in rows] == [1, 2, 3, 4]
    assert all(row.seen[0].frame for row in rows)
    assert {head.bundle_digest} == {verdict.bundle for verdict in kept.verdicts}
    assert {head.recipe_digest} == {verdict.recipe for verdict in kept.verdicts}
    assert head.running
    assert head.running.engine == "openvino"


def replayed(path: Path, *options: str) -> dict[str, Any]:
    """What `edge replay --json` prints; its status has to fit."""
    command = [sys.executable, "-m", "edge", "replay", str(path), "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.stdout, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (1 if report["differ"] else 0), done.stderr
    return report


def test_a_replay_gives_the_same_verdicts_bit_for_bit(kept: Kept) -> None:
    """Score, regions, registration and reason come out again, of passed, rejected and unknown parts."""
    report = replayed(kept.boxes[0])
    assert (report["equal"], report["left_out"]) == (4, {}), report
    assert report["engine"] == report["engine_then"]


def altered(kept: Kept, folder: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """A copy of the black box in which the content of some files is different."""
    path = folder / "altered.zip"
    with zipfile.ZipFile(kept.boxes[0]) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return path


def with_another_pixel(name: str, data: bytes) -> bytes:
    if not name.startswith("frames/000001"):
        return data
    picture = decode(data, name).copy()
    picture[300, 300] ^= 0xFF
    return bytes(cv2.imencode(".png", picture)[1])


def test_a_changed_pixel_is_found(kept: Kept, tmp_path: Path) -> None:
    """A frame that is not the one of then gives another result; the command says so and ends with status 1."""
    report = replayed(altered(kept, tmp_path, with_another_pixel))
    assert (report["equal"], report["differ"]) == (3, 1)
    (found,) = report["differences"]
    assert found["part_id"] == kept.verdicts[0].part_id
    assert found["fields"]


def test_a_part_that_cannot_be_compared_is_told(kept: Kept, tmp_path: Path) -> None:
    """A part without a frame is no difference; a file in which nothing can be compared proves nothing."""

    def without_frames(count: int) -> Callable[[str, bytes], bytes]:
        def change(name: str, data: bytes) -> bytes:
            if name != PARTS:
                return data
            rows = [msgspec.json.decode(line, type=Row) for line in data.splitlines()]
            for place, row in enumerate(rows[:count]):
                seen = tuple(msgspec.structs.replace(one, frame=None) for one in row.seen)
                rows[place] = msgspec.structs.replace(row, seen=seen)
            return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)

        return change

    report = replayed(altered(kept, tmp_path, without_frames(3)))
    assert (report["equal"], report["differ"], report["left_out"]) == (1, 0, {"no frame": 3})
    with pytest.raises(RecordingError, match="none of 4 parts"):
        replay(altered(kept, tmp_path, without_frames(4)))


def test_a_bundle_that_was_moved_can_be_named(kept: Kept, tmp_path: Path) -> None:
    """A black box can be replayed on another machine; the bundle's digest says that it is the same."""
    shutil.copytree(BUNDLE, tmp_path / "moved")
    assert replayed(kept.boxes[0], "--bundle", str(tmp_path / "moved"))["equal"] == 4
    with pytest.raises(RecordingError, match="no judge is called 'other'"):
        replay(kept.boxes[0], bundles=[f"other={tmp_path / 'moved'}"])


def test_another_engine_than_the_lines_is_told(kept: Kept, tmp_path: Path) -> None:
    """Where the line's engine cannot run, the recipe's is taken, and the report names both."""

    def on_a_gpu(name: str, data: bytes) -> bytes:
        if name != HEAD:
            return data
        head = msgspec.json.decode(data)
        head["running"] |= {"engine": "tensorrt", "precision": "fp16"}
        return msgspec.json.encode(head)

    report = replayed(altered(kept, tmp_path, on_a_gpu))
    assert (report["engine_then"], report["engine"]) == ("tensorrt fp16", "openvino int8")
    assert report["equal"] == 4


def test_another_recipe_or_bundle_is_refused(kept: Kept, tmp_path: Path, tiny_bundle: Path) -> None:
    """Only what the line ran can be compared with its verdicts; whatever else is named is told."""
    other = tmp_path / "recipe.toml"
    other.write_text(kept.recipe.read_text() + "# changed\n")
    with pytest.raises(RecordingError, match="not the recipe"):
        replay(kept.boxes[0], other)
    with pytest.raises(RecordingError, match="--bundle"):
        replay(kept.boxes[0], bundles=[str(tiny_bundle)])
    with pytest.raises(BundleError, match="nowhere"):
        replay(kept.boxes[0], bundles=[str(tmp_path / "nowhere")])


def test_a_fault_has_a_black_box_and_a_recorder_that_dies_costs_no_verdict(
    tmp_path: Path, endless: Callable[..., Path]
) -> None:
    """A recorder that is killed comes back while parts are judged; a killed stage leaves a black box."""
    recipe = endless(f'{RECORDER}[recorder.box]\non = ["fault"]\n')
    with Subscriber(tmp_path) as subscriber, running(recipe) as line:
        until(lambda: len(subscriber.verdicts) > 20, "parts are judged", line)
        killed, seen = line.kill("recorder"), len(subscriber.verdicts)
        until(lambda: line.pid("recorder") != killed, "the recorder is back", line)
        until(lambda: len(subscriber.verdicts) > seen + 20, "more parts are judged", line)
        quiet = [verdict for _, verdict in subscriber.verdicts]
        line.kill("infer")
        boxes = tmp_path / "kept" / line_name(tmp_path) / "boxes"
        until(lambda: list(boxes.rglob("*.zip")), "a black box is written", line)
        stop(line)
    assert [verdict.number for verdict in quiet] == list(range(1, len(quiet) + 1))
    # On a busy machine, some parts may be late or find no slot.
    assert "clean" in {verdict.reason for verdict in quiet} <= {"clean", "late", "overrun"}
    first = min(boxes.rglob("*.zip"))
    assert first.name.endswith("_fault-infer.zip"), first
    with Box(first) as box:
        assert all(row.seen[0].frame for row in box.rows())


def test_a_killed_supervisor_leaves_a_black_box(tmp_path: Path, endless: Callable[..., Path]) -> None:
    """With the parts before the fault, whatever the next line does meanwhile; no recorder stays behind."""
    keep = '[timing]\ndeadline_ms = 500\n[recorder]\nfolder = "kept"\nreserve_mb = 0\n'
    recipe = endless(f'{keep}[recorder.box]\non = ["fault"]\n', delay_ms=60)
    with Subscriber(tmp_path) as subscriber:
        with running(recipe) as line:
            until(judged(subscriber, 10), "parts are judged", line)
            recorder, ledger = line.pid("recorder"), line.ledger()
            line.process.kill()
        with running(recipe) as following:
            until(judged(subscriber, 5), "parts are judged again", following)
            until(lambda: not is_running(recorder), "the recorder has ended")
            stop(following)
    (path,) = [path for path in (tmp_path / "kept").rglob("boxes/*/*") if path.is_file()]
    assert path.name.endswith("_fault-supervisor.zip")
    heard = {verdict.part_id: verdict for _, verdict in subscriber.verdicts if not verdict.resent}
    with Box(path) as box:
        assert box.head().running, "with which engine is known"
        rows = list(box.rows())
    assert len(rows) >= 10
    assert rows[-1].number <= ledger.captured
    verdicts = [verdict_from(bytes(row.verdict)) for row in rows]
    assert all(row.seen[0].frame for row, one in zip(rows, verdicts, strict=True) if one.verdict == "pass")
    assert verdicts == [heard[verdict.part_id] for verdict in verdicts]


def test_a_line_does_not_start_without_the_folder_for_its_pictures(
    tmp_path: Path, endless: Callable[..., Path]
) -> None:
    """Who asks for pictures learns at the start, with the key, that there will be none."""
    (tmp_path / "file").write_text("")
    with running(endless('[recorder]\nfolder = "file/kept"')) as line:
        status, said = line.wait()
    assert status == 1
    assert "recorder.folder" in said


def test_looks_of_several_cameras_are_kept_and_replayed(
    tmp_path: Path, constant_bundle: Callable[..., Path]
) -> None:
    """Each camera's frame of a part is in the black box, and all of them together give the verdict again."""
    keep = '[ejector]\nat = 2000\nlead_ms = 20\n[recorder]\nfolder = "kept"\nreserve_mb = 0\n'
    keep += "[recorder.box]\nparts = 100\nafter = 99"
    recipe = belt_recipe(tmp_path, constant_bundle(score=0.9), parts=12, fault=0.1, more=keep)
    with Subscriber(tmp_path) as subscriber, running(recipe) as line:
        status, said = line.wait()
        assert status == 0, said
        (path,) = Kept(tmp_path, [], recipe).boxes
        with Box(path) as box:
            rows = list(box.rows())
        until(lambda: len(subscriber.verdicts) >= len(rows), "the verdicts in the box are heard")
    heard = [verdict for _, verdict in subscriber.verdicts]
    truth = truth_of(tmp_path)
    for row in rows:
        shown = {truth[seen.part.camera, seen.part.captured_ns] for seen in row.seen}
        assert len(shown) == 1, "looks of two boards are in one row"
    assert [verdict_from(bytes(row.verdict)) for row in rows] == heard[: len(rows)]
    whole = [row for row in rows if len(row.seen) == len(CAMERAS) and all(seen.frame for seen in row.seen)]
    assert whole, "no board was seen by each camera"
    report = replayed(path)
    assert report["differences"] == []
    assert report["equal"] >= len(whole)
