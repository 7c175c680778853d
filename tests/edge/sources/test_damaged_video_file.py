"""What of a film is damaged is a part without a picture; no pixels are shown that a decoder made up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from films import FRAMES, HEIGHT, KEY_EVERY, WIDTH, write
from numpy.typing import NDArray

from edge import recipe
from edge.errors import PartError, SourceEnded
from edge.sources import open_source

Shown = list["NDArray[np.uint8] | str"]


def play(path: Path) -> Shown:
    """Of each part: its picture, or why it has none."""
    section = recipe.Video(address=str(path), width=WIDTH, height=HEIGHT, color="bgr")
    shown: Shown = []
    with open_source(section) as source:
        while True:
            try:
                assert source.wait(10)
            except SourceEnded:
                return shown
            out = np.zeros(section.shape, np.uint8)
            try:
                source.read(out)
                shown.append(out)
            except PartError as error:
                shown.append(error.detail if error.reason == "frame" else error.reason)


def check(shown: Shown, whole: Shown) -> list[int]:
    """Each picture is one of the whole film's, in their order; returns which of them are shown."""
    places = []
    for picture in shown:
        if not isinstance(picture, str):
            after = places[-1] + 1 if places else 0
            same = [n for n in range(after, len(whole)) if np.array_equal(picture, whole[n])]
            assert same, "a picture that is none of the film"
            places.append(same[0])
    return places


FILMS = [
    ("libx264", ".mp4", 0),
    ("libx264", ".mp4", 2),
    ("libx264", ".mp4", 3),
    ("libx264", ".ts", 2),
    ("libx264", ".mkv", 0),
    ("libx265", ".mp4", 2),
    ("mjpeg", ".avi", 0),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str, int], Shown]:
    """The frames of a whole film, each of which is shown."""
    played: dict[tuple[str, str, int], Shown] = {}

    def get(codec: str, ending: str, between: int) -> Shown:
        film = (codec, ending, between)
        if film not in played:
            path = write(tmp_path_factory.mktemp("whole") / f"film{ending}", codec, between=between)
            played[film] = play(path)
            assert len(played[film]) == FRAMES
            assert not any(isinstance(picture, str) for picture in played[film])
        return played[film]

    return get


@pytest.mark.parametrize(("codec", "ending", "between"), FILMS)
def test_a_lost_packet_costs_what_is_made_of_it(
    tmp_path: Path, whole: Callable[[str, str, int], Shown], codec: str, ending: str, between: int
) -> None:
    """Frames that were made of it are unknown; from the next key frame on, all are shown."""
    frames = whole(codec, ending, between)
    for lost in range(1, FRAMES, 3):
        path = tmp_path / f"{lost}{ending}"
        write(path, codec, lambda n, data: None if n == lost else data, between)  # noqa: B023
        shown = check(play(path), frames)
        last = FRAMES - (lost == FRAMES - 1)
        following = range(-(-(lost + between + 1) // KEY_EVERY) * KEY_EVERY, last - between)
        assert set(following) <= set(shown)


@pytest.mark.parametrize(("codec", "ending", "between"), [film for film in FILMS if film[0] != "libx265"])
def test_a_packet_that_is_cut_is_no_picture(
    tmp_path: Path, whole: Callable[[str, str, int], Shown], codec: str, ending: str, between: int
) -> None:
    """Nothing is filled in for what a packet lacks."""
    for cut in range(0, FRAMES, 3):
        path = tmp_path / f"{cut}{ending}"
        write(path, codec, lambda n, data: data[: len(data) * 2 // 3] if n == cut else data, between)  # noqa: B023
        shown = play(path)
        assert any(isinstance(picture, str) for picture in shown)
        check(shown, whole(codec, ending, between))


@pytest.mark.parametrize("codec", ["mjpeg", "libx264"])
def test_an_empty_packet_is_not_the_end(
    tmp_path: Path, whole: Callable[[str, str, int], Shown], codec: str
) -> None:
    """Where a driver or recorder had nothing to give, one part has no picture, and the film goes on."""
    path = write(tmp_path / "film.nut", codec, lambda n, data: b"" if n == 5 else data)
    shown = play(path)
    assert len(shown) == FRAMES
    assert "frame 6: the stream is damaged: a packet is not whole" in str(shown[5])
    after = range(6, FRAMES) if codec == "mjpeg" else range(KEY_EVERY, FRAMES)
    assert check(shown, whole(codec, ".avi" if codec == "mjpeg" else ".mp4", 0)) == [*range(5), *after]


def test_h265_is_held_to_the_md5_that_it_brings(
    tmp_path: Path, whole: Callable[[str, str, int], Shown]
) -> None:
    """H.265 has no other check within a frame: what its decoder makes of a changed byte looks sound."""

    def changed(number: int, data: bytes) -> bytes:
        at = len(data) // 2
        return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :] if number == KEY_EVERY else data

    shown = play(write(tmp_path / "film.mp4", "libx265", changed, between=2))
    places = check(shown, whole("libx265", ".mp4", 2))
    assert places == [n for n in range(FRAMES) if n // KEY_EVERY != 1]


@pytest.mark.parametrize(("codec", "ending", "between"), [film for film in FILMS if film[1] != ".ts"])
@pytest.mark.parametrize("kept", [0.55, 0.8, 0.97])
def test_a_film_that_ends_in_mid_frame_ends_with_a_part_without_a_picture(
    tmp_path: Path, whole: Callable[[str, str, int], Shown], codec: str, ending: str, between: int, kept: float
) -> None:
    """A recording that was broken off does not hide it, and all before it is shown."""
    path = write(tmp_path / f"film{ending}", codec, between=between)
    data = path.read_bytes()
    if ending == ".avi":
        data = data[: data.rindex(b"idx1")]  # what a recorder writes when it is done
    path.write_bytes(data[: int(len(data) * kept)])
    shown = play(path)
    assert isinstance(shown[-1], str)
    places = check(shown, whole(codec, ending, between))
    assert between or places == list(range(len(places)))


def test_a_film_that_ends_behind_a_frame_but_names_more_is_not_over_silently(tmp_path: Path) -> None:
    """Its index knows how many there should be."""
    path = write(tmp_path / "film.mp4", "libx264")
    with av.open(str(path)) as film:
        places = [packet.pos for packet in film.demux(video=0) if packet.size]
    path.write_bytes(path.read_bytes()[: places[-4]])
    shown = play(path)
    assert len(shown) == FRAMES - 4 + 1
    assert str(shown[-1]).endswith(f"the stream breaks off: expected {FRAMES} frames, found {FRAMES - 4}")


def test_the_text_says_which_frame_is_damaged_and_how(tmp_path: Path) -> None:
    """An operator can tell a bad cable from a bad camera."""
    path = write(tmp_path / "film.mp4", "libx264", lambda n, data: None if n == 3 else data)
    shown = play(path)
    said = "a frame is missing: expected number 3, found 4"
    assert shown[3] == f"{path}, frame 4: {said}"
    assert shown[4] == f"{path}, frame 5: {said}, in a frame that this one is made of"


@pytest.mark.parametrize(("codec", "form", "bits"), [("ffv1", "gray16le", 16), ("ffv1", "yuv420p10le", 10)])
def test_more_than_8_bits_are_not_darkened(tmp_path: Path, codec: str, form: str, bits: int) -> None:
    """The text says what was expected and what came."""
    path = write(tmp_path / "film.mkv", codec, form=form)
    assert play(path)[0] == f"{path}, frame 1: expected 8 bits a channel, found {bits} ({form})"
