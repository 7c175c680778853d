"""A film plays frame by frame; a live stream shows its newest frame, and its silence is noticed."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge import recipe
from edge.errors import PartError, SourceEnded, SourceError
from edge.sources import Source, open_source

HEIGHT, WIDTH = 48, 64
SHAPE = (HEIGHT, WIDTH, 3)


def section(address: str, **changes: Any) -> recipe.Video:
    return recipe.Video(address=address, **{"width": WIDTH, "height": HEIGHT, "color": "bgr", **changes})


@pytest.fixture(scope="module", params=["MJPG.avi", "mp4v.mp4"])
def film(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Five frames at 50 Hz, each 30 grey levels brighter than the one before."""
    code, _, _ = request.param.partition(".")
    path = str(tmp_path_factory.mktemp("film") / request.param)
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*code), 50, (WIDTH, HEIGHT))
    for level in range(30, 180, 30):
        writer.write(np.full(SHAPE, level, np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize("color", ["bgr", "gray"])
def test_every_frame_of_a_film_is_a_part(film: str, color: str) -> None:
    """None is left out and none is shown twice; a grey film can be read as grey."""
    wanted, levels = section(film, color=color), []
    out = np.zeros(wanted.shape, np.uint8)
    with open_source(wanted) as source:
        while len(levels) < 5:
            assert source.wait(10)
            source.read(out)
            levels.append(round(float(out.mean()) / 30) * 30)
        with pytest.raises(SourceEnded, match="all 5 frames"):
            source.wait(10)
    assert levels == [30, 60, 90, 120, 150]


def test_a_paced_film_keeps_its_own_rate(film: str) -> None:
    """Its parts are due a fiftieth of a second after each other."""
    with open_source(section(film, paced=True)) as source:
        due_ns = [trigger.captured_ns for trigger in (source.wait(10) for _ in range(5)) if trigger]
    assert set(np.diff(due_ns)) == {20_000_000}


@pytest.mark.parametrize(("height", "color"), [(HEIGHT + 2, "bgr"), (HEIGHT - 2, "gray")])
def test_a_film_of_another_size_is_not_resized(film: str, height: int, color: str) -> None:
    """The part becomes unknown, and the text says what was expected and what came."""
    wanted = section(film, height=height, color=color)
    with open_source(wanted) as source:
        assert source.wait(10)
        with pytest.raises(PartError, match=f"expected 64x{height} {color}, found 64x48"):
            source.read(np.zeros(wanted.shape, np.uint8))


@pytest.mark.parametrize("address", ["nowhere.mp4", "/dev/video99"])
def test_what_cannot_be_opened_is_named(address: str, tmp_path: Path) -> None:
    """A wrong address is an error before the line starts."""
    with pytest.raises(SourceError, match=f"{address}: cannot be opened"):
        open_source(section(address)).__enter__()


class Camera:
    """A network camera on the loopback: MJPEG over HTTP, a frame whenever the test says so."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._server.getsockname()[1]}/"
        self._accepted = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        self._client, _ = self._server.accept()
        self._client.recv(4096)
        head = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=f\r\n\r\n"
        self._client.sendall(head + 32 * self._part(0))  # so many FFmpeg looks at before it opens
        self._accepted.set()

    def _part(self, level: int) -> bytes:
        data = cv2.imencode(".jpg", np.full(SHAPE, level, np.uint8))[1].tobytes()
        return b"--f\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(data), data)

    def show(self, *levels: int) -> None:
        assert self._accepted.wait(10)
        self._client.sendall(b"".join(self._part(level) for level in levels))

    def hang_up(self) -> None:
        self._client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if self._accepted.is_set():
            self._client.close()
        self._server.close()


@pytest.fixture
def camera() -> Iterator[Camera]:
    camera = Camera()
    yield camera
    camera.close()


def level_of(source: Source) -> int:
    out = np.zeros(SHAPE, np.uint8)
    source.read(out)
    return int(np.median(out))


def failure_of(source: Source) -> str:
    """What is said when the stream is lost."""
    while True:
        try:
            source.wait(0.01)
        except SourceError as error:
            return str(error)


def test_a_live_stream_is_read_as_it_comes(camera: Camera) -> None:
    """Each frame that is waited for is a part, triggered when it came."""
    with open_source(section(camera.address, timeout_ms=10_000)) as source:
        for level in (50, 100, 150):
            before_ns = time.monotonic_ns()
            camera.show(level)
            trigger = source.wait(10)
            while level_of(source) != level:  # one of those with which the camera was opened
                trigger = source.wait(10)
            assert trigger
            assert before_ns < trigger.captured_ns < time.monotonic_ns()


def test_a_late_reader_gets_the_newest_frame(camera: Camera) -> None:
    """Frames that came while nobody waited are passed over; no stale picture comes out of a queue."""
    with open_source(section(camera.address, timeout_ms=10_000)) as source:
        camera.show(*range(10, 210, 10))
        while source._newest is None or source._newest[1].min() < 200:  # type: ignore[attr-defined]
            pass  # the reader is busy elsewhere until the last frame has arrived
        assert source.wait(10)
        assert level_of(source) == 200
        assert source.wait(0) is None


def test_a_silent_camera_is_lost_after_the_timeout(camera: Camera) -> None:
    """A stream that stays open but sends nothing is an error that names camera and time."""
    with open_source(section(camera.address, timeout_ms=60)) as source:
        error = failure_of(source)
    assert re.search(r"no frame for \d+ ms, 60 are allowed", error)


def test_a_camera_that_hangs_up_is_lost_at_once(camera: Camera) -> None:
    """A broken connection is not waited for."""
    with open_source(section(camera.address, timeout_ms=60_000)) as source:
        camera.hang_up()
        assert "ended or broke off" in failure_of(source)


def test_waiting_for_a_live_stream_gives_up_when_the_time_is_over(camera: Camera) -> None:
    """A line that is told to stop notices it although no frame comes."""
    with open_source(section(camera.address, timeout_ms=60_000)) as source:
        waits = [source.wait(0.001) for _ in range(200)]
    assert None in waits
