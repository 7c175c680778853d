"""A film plays frame by frame, and what of it is damaged is no picture."""

from __future__ import annotations

import re
from typing import Any

import cv2
import numpy as np
import pytest

from edge import recipe
from edge.errors import PartError, SourceEnded, SourceError
from edge.sources import open_source

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


def test_a_film_passes_no_frame_over(film: str) -> None:
    """Who asks for the newest frames of a file is told that all of them count."""
    with (
        pytest.raises(SourceError, match=r"\[source\] newest is for cameras"),
        open_source(section(film, newest=True)),
    ):
        pass


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


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("nowhere.mp4", "nowhere.mp4"),
        ("/dev/video99", "/dev/video99"),
        ("rtsp://admin:hidden@127.0.0.1:9/live", "rtsp://***@127.0.0.1:9/live"),
        ("http://admin:hidden@127.0.0.1:9/live", "http://***@127.0.0.1:9/live"),
        ("nosuchsrc user-pw=hidden ! appsink", "nosuchsrc user-pw=*** ! appsink"),
    ],
    ids=["film", "device", "rtsp", "http", "gstreamer"],
)
def test_what_cannot_be_opened_is_named(address: str, told: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A wrong address is an error before the line starts, which tells no password."""
    with pytest.raises(SourceError, match=f"^{re.escape(told)}: cannot be opened") as error:
        open_source(section(address)).__enter__()
    assert "hidden" not in f"{error.value} {capfd.readouterr()}"
