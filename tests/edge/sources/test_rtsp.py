"""A frame of an RTSP stream of which a packet was lost is no picture, nor is what is made of it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from films import FRAMES, HEIGHT, KEY_EVERY, WIDTH, scene, write
from msgspec.structs import replace
from rtsp import rtsp_camera

from edge import recipe
from edge.documents.address import without_secrets
from edge.errors import PartError, SourceError
from edge.sources import Source, open_source


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Packets of a film, each a frame, the first of each KEY_EVERY with the stream's parameters."""
    found: list[bytes] = []

    def keep(number: int, data: bytes) -> bytes:
        found.append(data)
        return data

    write(tmp_path_factory.mktemp("film") / "film.h264", "libx264", keep)
    return found


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a busy machine take its time."""
    monkeypatch.setattr("edge.sources.backlog.MOST", 10_000)


def watch(address: str, count: int) -> list[bytes | str]:
    """Of so many parts: the picture, or why there is none."""
    section = recipe.Video(address=address, width=WIDTH, height=HEIGHT, color="bgr", timeout_ms=20_000)
    seen: list[bytes | str] = []
    with open_source(section) as source:
        while len(seen) < count:
            assert source.wait(20)
            seen.append(shown_by(source))
    return seen


def shown_by(source: Source) -> bytes | str:
    """The picture of a part that was triggered, or why there is none."""
    out = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    try:
        source.read(out)
    except PartError as error:
        return error.detail
    return out.tobytes()


def test_a_whole_stream_is_shown_from_its_first_key_frame_on(frames: list[bytes]) -> None:
    """Every frame is a part with its picture."""
    with rtsp_camera(frames) as camera:
        seen = watch(camera.address, 2 * FRAMES)
    assert not [one for one in seen if isinstance(one, str)]
    assert seen[FRAMES:] == seen[:FRAMES]
    assert len(set(seen)) == FRAMES


def test_a_stream_that_is_joined_in_its_middle_begins_with_a_key_frame(frames: list[bytes]) -> None:
    """What came before it could not be decoded, and is no part."""
    with rtsp_camera(frames, lambda frame, _: frame > 2) as camera:
        seen = watch(camera.address, FRAMES)
    assert not [one for one in seen if isinstance(one, str)]


@pytest.mark.parametrize("all_of_it", [False, True], ids=["a fragment", "a frame"])
def test_what_is_lost_on_the_way_is_unknown_up_to_the_next_key_frame(
    frames: list[bytes], all_of_it: bool
) -> None:
    """The decoder would show the frame before in its place, and go on from there."""
    lost = FRAMES + (3 if all_of_it else KEY_EVERY)  # in the second round

    def keep(frame: int, fragment: int) -> bool:
        return frame != lost or not (all_of_it or fragment == 5)

    with rtsp_camera(frames) as camera:
        whole = set(watch(camera.address, FRAMES))
    with rtsp_camera(frames, keep) as camera:
        seen = watch(camera.address, 3 * FRAMES)
    unknown = [number for number, one in enumerate(seen) if isinstance(one, str)]
    assert {one for one in seen if not isinstance(one, str)} == whole
    assert unknown == list(range(unknown[0], unknown[-1] + 1))
    assert len(unknown) == (KEY_EVERY - 4 if all_of_it else KEY_EVERY)
    assert "hidden" not in "".join(one for one in seen if isinstance(one, str))


@pytest.mark.parametrize("lost", [1, 40], ids=["while it is opened", "later"])
def test_of_mjpeg_only_the_frame_that_lost_a_packet_is_unknown(lost: int) -> None:
    """What arrives is read like any JPEG, and all other frames are seen as they were sent."""
    factors = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420)  # RTP knows no other
    frames = [cv2.imencode(".jpg", scene(number), factors)[1].tobytes() for number in range(6)]
    whole = [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).tobytes() for data in frames]
    with rtsp_camera(frames, lambda frame, fragment: (frame, fragment) != (lost, 2)) as camera:
        seen = watch(camera.address, 48)
    expected = 8 * whole
    assert [one for one in seen if not isinstance(one, str)] == expected[:lost] + expected[lost + 1 :]
    assert lost < 10 or isinstance(seen[lost], str)


def test_a_camera_that_hangs_up_is_lost_behind_its_last_frame(frames: list[bytes]) -> None:
    """What it delivered is seen, but for a last frame that may lack its end, and no part is made up."""
    section = recipe.Video(address="", width=WIDTH, height=HEIGHT, color="bgr", timeout_ms=20_000)
    seen = []
    with rtsp_camera(frames) as camera, open_source(replace(section, address=camera.address)) as source:
        said = ""
        while not said:
            try:
                if source.wait(20):
                    seen.append(shown_by(source))
            except SourceError as error:
                said = str(error)
            if len(seen) == FRAMES:
                camera.closing.set()
    assert said.startswith(f"{without_secrets(camera.address)}: the stream ended or broke off")
    assert not [one for one in seen[:-1] if isinstance(one, str)]
    assert FRAMES <= len(seen) <= camera.sent
