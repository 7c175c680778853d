"""Every frame that a camera gives becomes a part or is counted, and a damaged one is never a picture."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from camera import BOUNDARY, Camera, camera, part
from films import FRAMES as FILM
from films import write

from edge import recipe
from edge.errors import PartError, SourceError
from edge.sources import Source, Trigger, open_source
from edge.sources.backlog import MOST, Backlog
from edge.sources.stream_frame import decoded

HEIGHT, WIDTH = 48, 64


def section(address: str, **changes: Any) -> recipe.Video:
    return recipe.Video(address=address, **{"width": WIDTH, "height": HEIGHT, "timeout_ms": 20_000, **changes})


def jpeg(level: int, height: int = HEIGHT, width: int = WIDTH) -> bytes:
    noise = np.random.default_rng(level).integers(0, 9, (height, width)) + level
    return cv2.imencode(".jpg", noise.astype(np.uint8))[1].tobytes()


@pytest.fixture
def a_camera() -> Iterator[Camera]:
    with camera() as one:
        yield one


def next_of(source: Source, deadline_s: float = 20.0) -> Trigger:
    trigger = source.wait(deadline_s)
    assert trigger
    return trigger


def seen(source: Source) -> int | str:
    """The level of the triggered frame, or why it has no picture."""
    out = np.zeros((HEIGHT, WIDTH), np.uint8)
    try:
        source.read(out)
    except PartError as error:
        return f"{error.reason}: {error.detail}"
    return round(float(np.median(out)) / 10) * 10


def failure_of(source: Source) -> str:
    """What is said when the stream is lost."""
    while True:
        try:
            source.wait(0.01)
        except SourceError as error:
            return str(error)


@pytest.mark.parametrize("length", [-1, None], ids=["told", "not told"])
def test_each_part_is_a_frame_as_soon_as_it_is_there(a_camera: Camera, length: int | None) -> None:
    """No part waits for the next one, whether its length is told or not."""
    with open_source(section(a_camera.address)) as source:
        for number, level in enumerate((50, 100, 150), start=1):
            before_ns = time.monotonic_ns()
            a_camera.send(part(jpeg(level), length))
            trigger = next_of(source)
            assert seen(source) == level
            assert trigger.source_ref == f"frame {number}"
            assert before_ns < trigger.captured_ns < time.monotonic_ns()


@pytest.mark.parametrize("length", [-1, None, len(jpeg(100))], ids=["told", "not told", "told wrong"])
def test_a_part_that_is_cut_is_unknown_and_the_stream_goes_on(a_camera: Camera, length: int | None) -> None:
    """What was lost on the way is not filled with the frame before."""
    cut = jpeg(100)[: len(jpeg(100)) * 6 // 10]
    with open_source(section(a_camera.address)) as source:
        a_camera.send(part(jpeg(50)), part(cut, length), part(jpeg(150)))
        shown = [(next_of(source), seen(source))[1] for _ in range(3)]
    assert shown[::2] == [50, 150]
    assert re.match(r"frame: http://127.* frame 2: (the JPEG is truncated|expected \d+ bytes)", str(shown[1]))


@pytest.mark.parametrize("missing", range(1, 12))
def test_a_boundary_across_the_told_length_is_seen(a_camera: Camera, missing: int) -> None:
    """A part that lacks a few bytes of its middle takes no following part with it.

    One or two are what the line end before a boundary makes up for: some cameras count it, some do not.
    """
    whole = part(jpeg(100))
    at = len(whole) // 2
    with open_source(section(a_camera.address)) as source:
        a_camera.send(part(jpeg(50)), whole[: at - missing] + whole[at:], part(jpeg(150)))
        shown = [(next_of(source), seen(source))[1] for _ in range(3)]
    assert (shown[0], shown[2]) == (50, 150)
    assert missing < 3 or re.search(r"frame 2: expected \d+ bytes, found a boundary after", str(shown[1]))


def test_a_hole_with_the_end_marker_in_place_is_unknown(a_camera: Camera) -> None:
    """A JPEG whose middle is lost looks whole from outside."""
    whole = jpeg(100)
    holed = whole[: len(whole) // 2] + whole[len(whole) * 3 // 4 :]
    with open_source(section(a_camera.address)) as source:
        a_camera.send(part(holed), part(jpeg(150)))
        assert next_of(source)
        assert "do not decode" in str(seen(source))
        assert next_of(source)
        assert seen(source) == 150


def test_a_part_that_is_no_jpeg_is_unknown_and_the_stream_goes_on(a_camera: Camera) -> None:
    """A camera that says something in between is not lost."""
    with open_source(section(a_camera.address)) as source:
        a_camera.send(part(b"busy", kind=b"text/plain"), part(b""), part(jpeg(150)))
        shown = [(next_of(source), seen(source))[1] for _ in range(3)]
    assert [str(one).startswith("frame: ") for one in shown] == [True, True, False]
    assert shown[2] == 150


def test_frames_that_change_their_size_are_unknown_with_both_sizes(a_camera: Camera) -> None:
    """Nothing is rescaled, and the stream goes on."""
    with open_source(section(a_camera.address)) as source:
        a_camera.send(part(jpeg(50)), part(jpeg(100, HEIGHT // 2, WIDTH // 2)), part(jpeg(150)))
        shown = [(next_of(source), seen(source))[1] for _ in range(3)]
    assert shown[::2] == [50, 150]
    assert "frame 2: expected 64x48 gray, found 32x24 gray" in str(shown[1])


def test_a_part_that_breaks_off_in_its_head_is_unknown(a_camera: Camera) -> None:
    """Nor is the head of the next one taken for its own."""
    with open_source(section(a_camera.address)) as source:
        a_camera.send(part(jpeg(50)), BOUNDARY + b"\r\nContent-Type: image", b"\r\n" + part(jpeg(150)))
        shown = [(next_of(source), seen(source))[1] for _ in range(3)]
    assert shown[::2] == [50, 150]
    assert "frame 2: expected a head and a picture" in str(shown[1])


def test_what_stands_between_parts_does_not_matter(a_camera: Camera) -> None:
    """Cameras differ in dashes, blanks, line ends and what they put first."""
    plain = part(jpeg(100)).replace(b"\r\n", b"\n", 4)
    with open_source(section(a_camera.address)) as source:
        a_camera.send(b"\r\nhello\r\n", part(jpeg(50)), BOUNDARY, b"\r\n", plain, b"--" + part(jpeg(150)))
        a_camera.send(BOUNDARY + b"--\r\n")
        assert [(next_of(source), seen(source))[1] for _ in range(3)] == [50, 100, 150]


@pytest.mark.parametrize("boundary", ['"frame"', "--frame", "frame; charset=x"])
def test_the_boundary_is_understood_as_cameras_write_it(boundary: str) -> None:
    """With its dashes, in quotes or among others."""
    kind = f"multipart/x-mixed-replace;boundary={boundary}"
    with camera(content_type=kind) as one, open_source(section(one.address)) as source:
        one.send(part(jpeg(50)))
        next_of(source)
        assert seen(source) == 50


@pytest.mark.parametrize("digest", [False, True])
def test_a_password_opens_the_camera_and_is_told_nobody(digest: bool) -> None:
    """Neither a detail nor an error shows it."""
    with camera(password="h/idden", digest=digest) as one:
        address = f"http://admin:h%2Fidden@{one.host}/stream"
        with open_source(section(address)) as source:
            one.send(part(b"busy"))
            next_of(source)
            detail = str(seen(source))
            one.hang_up()
            lost = failure_of(source)
    for said in (detail, lost):
        assert f"http://***@{one.host}/stream" in said
        assert "dden" not in said
    with camera(password="hidden") as one, pytest.raises(SourceError, match="HTTP Error 401") as refused:
        open_source(section(f"http://admin:wrong@{one.host}/stream")).__enter__()
    assert "wrong" not in str(refused.value)


def test_a_camera_may_be_silent_as_long_as_the_recipe_lets_it(
    a_camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is triggered seldom is not taken for lost by what reads it."""
    monkeypatch.setattr("edge.sources.live_stream._OPEN_TIMEOUT_S", 2.0)
    with open_source(section(a_camera.address)) as source:
        assert source.wait(2.5) is None
        a_camera.send(part(jpeg(50)))
        next_of(source)
        assert seen(source) == 50


def test_a_film_over_http_is_read_like_any_other(tmp_path: Path) -> None:
    """Only an answer in parts is a camera's MJPEG."""
    write(tmp_path / "film.mkv", "libx264")
    handler = partial(Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with open_source(section(f"http://127.0.0.1:{server.server_port}/film.mkv", color="bgr")) as source:
            refs = [next_of(source).source_ref for _ in range(FILM)]
            said = failure_of(source)
        server.shutdown()
    assert refs == [f"frame {number}" for number in range(1, FILM + 1)]
    assert "film.mkv: the stream ended" in said


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *said: object) -> None:
        pass


def test_a_silent_camera_is_lost_after_the_timeout(a_camera: Camera) -> None:
    """A stream that stays open but sends nothing is an error that names camera and time."""
    with open_source(section(a_camera.address, timeout_ms=60)) as source:
        error = failure_of(source)
    assert re.search(r"no frame for \d+ ms, 60 are allowed", error)


def test_a_camera_that_hangs_up_is_lost_behind_its_last_frame(a_camera: Camera) -> None:
    """A part that it broke off is unknown, and then the error comes at once."""
    with open_source(section(a_camera.address)) as source:
        a_camera.send(part(jpeg(50)), part(jpeg(100))[:-40])
        a_camera.hang_up()
        next_of(source)
        assert seen(source) == 50
        next_of(source)
        assert "found the stream's end" in str(seen(source))
        assert "the stream ended" in failure_of(source)


def test_waiting_for_a_live_stream_gives_up_when_the_time_is_over(a_camera: Camera) -> None:
    """A line that is told to stop notices it although no frame comes."""
    with open_source(section(a_camera.address)) as source:
        waits = [source.wait(0.001) for _ in range(50)]
    assert set(waits) == {None}


def count_of(source: Source, last: int) -> tuple[int, int, int]:
    """Parts, those of them without pixels, and frames passed over, up to the frame of this level."""
    parts = lost = skipped = 0
    while True:
        trigger = next_of(source)
        parts, lost, skipped = parts + 1, lost + bool(trigger.lost), skipped + trigger.skipped
        if not trigger.lost and seen(source) == last:
            return parts, lost, skipped


@pytest.mark.parametrize("newest", [False, True])
def test_frames_that_nobody_took_in_time_are_accounted_for(a_camera: Camera, newest: bool) -> None:
    """Each is a part without a picture or, where the recipe says so, counted with the next one."""
    with open_source(section(a_camera.address, newest=newest)) as source:
        a_camera.send(*(part(jpeg(10)) for _ in range(200)), part(jpeg(200)))
        waiting = source._backlog._waiting  # type: ignore[attr-defined]
        while not waiting or waiting[-1].frame.ref != "frame 201":
            time.sleep(0.001)  # the reader is busy elsewhere until the last frame has arrived
        parts, lost, skipped = count_of(source, 200)
        assert source.wait(0) is None
    assert parts + skipped == 201
    assert (lost, skipped) == ((0, 200) if newest else (201 - MOST, 0))


def test_a_lost_frame_says_so() -> None:
    """Whoever asks for its pixels is told why there are none."""
    backlog = Backlog(newest=False)
    for number in range(MOST + 1):
        backlog.put(decoded(lambda: np.zeros((2, 2), np.uint8), f"frame {number}"))
    taken = backlog.take(0)
    assert taken
    assert not isinstance(taken, str)
    assert taken.frame.ref == "frame 0"
    with pytest.raises(PartError, match=f"{MOST} newer frames came") as told:
        taken.frame.pixels()
    assert told.value.reason == "overrun"


def test_frames_are_counted_while_others_are_taken() -> None:
    """Nothing is lost between the thread that reads and the one that takes."""
    backlog, frames = Backlog(newest=True), 20_000

    def deliver() -> None:
        for number in range(frames):
            backlog.put(decoded(lambda: np.zeros((2, 2), np.uint8), str(number)))
        backlog.end("over")

    threading.Thread(target=deliver, daemon=True).start()
    counted = 0
    while not isinstance(taken := backlog.take(10), str):
        assert taken
        counted += 1 + taken.skipped
    assert counted == frames


def test_a_frame_carries_the_number_that_the_camera_gave_it(
    a_camera: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    """By the header that the recipe names; a frame without it has none, and that is logged once."""
    with open_source(section(a_camera.address, counter="x-frame-number")) as source:
        for head in (b"X-Frame-Number: 7", b"X-Frame-Number:\t12", b"X-Frame: 13", b"X-Frame-Number: -1"):
            a_camera.send(part(jpeg(50)).replace(b"Content-Type", head + b"\r\nContent-Type", 1))
        assert [next_of(source).count for _ in range(4)] == [7, 12, -1, -1]
    told = [record.message for record in caplog.records if "counter" in record.message]
    assert len(told) == 1
    assert "frame 3 has no number in its header 'x-frame-number'" in told[0]


def test_a_damaged_frame_keeps_its_number(a_camera: Camera) -> None:
    """Its trigger was seen, so it is not missing as well."""
    with open_source(section(a_camera.address, counter="N")) as source:
        whole = part(jpeg(50)).replace(b"Content-Type", b"N: 4\r\nContent-Type", 1)
        a_camera.send(whole[: len(whole) // 2], b"\r\n" + BOUNDARY + b"\r\n")
        trigger = next_of(source)
        assert str(seen(source)).startswith("frame: ")
    assert trigger.count == 4


def test_without_a_counter_frames_have_no_number(a_camera: Camera) -> None:
    """Nothing is taken for a number that nobody said is one."""
    with open_source(section(a_camera.address)) as source:
        a_camera.send(part(jpeg(50)).replace(b"Content-Type", b"X-Frame-Number: 4\r\nContent-Type", 1))
        assert next_of(source).count == -1


def test_a_counter_of_a_source_that_cannot_have_one_is_an_error() -> None:
    """Rather than to count nothing silently."""
    with camera(content_type="image/jpeg") as one:
        for address in ("/dev/video0", one.address, "videotestsrc ! appsink"):
            with pytest.raises(SourceError, match=r"\[source\] counter .* take the key out"):
                open_source(section(address, counter="X-Frame-Number")).__enter__()
