"""A line takes the frames of a camera that only GStreamer opens, as the camera's unit sends them."""

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from lines import until
from ports import free_port

from edge import recipe
from edge.errors import SourceError
from edge.sources import open_source

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "linejudge-camera@.service"
WIDTH, HEIGHT = 62, 47  # odd, and no multiple of GStreamer's alignment

needs_gstreamer = pytest.mark.skipif(
    not shutil.which("gst-launch-1.0"),
    reason="no gst-launch-1.0: apt-get install gstreamer1.0-tools gstreamer1.0-plugins-{base,good}",
)
each_color = pytest.mark.parametrize(("color", "form"), [("gray", "GRAY8"), ("bgr", "BGR")])


def command(pipeline: str, port: int) -> list[str]:
    """The unit's ExecStart with the two variables of its EnvironmentFile put in, as systemd does it."""
    words = re.findall(r"^ExecStart=(.+)$", UNIT.read_text(), re.MULTILINE)[0].split()
    assert words[0] == "/usr/bin/gst-launch-1.0"
    return [
        part.replace("${PORT}", str(port))
        for word in words
        for part in (pipeline.split() if word == "$PIPELINE" else [word])
    ]


def listens(port: int) -> bool:
    """Whether a socket listens on this port. The kernel says it, as the camera would notice a connection."""
    return any(
        place.endswith(f":{port:04X}") and state == "0A"
        for _, place, _, state, *_ in map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:])
    )


@contextmanager
def sent(pipeline: str) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Run the unit's command; yield the address for the recipe, and the process."""
    port = free_port()
    camera = subprocess.Popen(command(pipeline, port), stderr=subprocess.PIPE)
    try:
        until(lambda: listens(port) or camera.poll() is not None, "the camera listens")
        assert camera.poll() is None, camera.communicate()[1]
        yield f"tcp://127.0.0.1:{port}", camera
    finally:
        camera.kill()
        camera.communicate()


def still(frame: np.ndarray, form: str, folder: Path) -> str:
    """A pipeline whose camera sees the same frame 50 times a second."""
    height, width = frame.shape[:2]
    stride = -(-frame[0].nbytes // 4) * 4  # a row of GStreamer's begins at a multiple of four bytes
    rows = np.zeros((height, stride), np.uint8)
    rows[:, : frame[0].nbytes] = frame.reshape(height, -1)
    (folder / "frame.raw").write_bytes(rows.tobytes())
    parsed = f"rawvideoparse format={form.lower()} width={width} height={height}"
    timed = f"imagefreeze is-live=true ! video/x-raw,format={form},framerate=50/1"
    return f"filesrc location={folder}/frame.raw ! {parsed} ! {timed}"


def section(address: str, color: str, width: int = WIDTH, height: int = HEIGHT) -> recipe.Video:
    return recipe.Video(address=address, width=width, height=height, color=color, newest=True)


def read(source, out: np.ndarray) -> np.ndarray:
    out[...] = 0
    assert source.wait(5.0) is not None
    source.read(out)
    return out


def read_all(source, out: np.ndarray) -> None:
    while True:
        read(source, out)


@needs_gstreamer
@each_color
def test_the_frames_come_as_the_camera_saw_them(color, form, tmp_path):
    """Every pixel of every frame is as it was, for the first line and for one that connects after it."""
    shape = (HEIGHT, WIDTH) if color == "gray" else (HEIGHT, WIDTH, 3)
    frame = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    out = np.empty(shape, np.uint8)
    with sent(still(frame, form, tmp_path)) as (address, _):
        for _ in range(2):
            with open_source(section(address, color)) as source:
                assert all(np.array_equal(read(source, out), frame) for _ in range(10))


@needs_gstreamer
def test_a_line_may_connect_while_a_frame_is_sent(tmp_path):
    """Whoever connects, at any moment, gets the stream's head and then the beginning of a frame's cluster."""
    frame = np.random.default_rng(2).integers(0, 256, (1080, 1920), np.uint8)
    with sent(still(frame, "GRAY8", tmp_path)) as (address, _):
        port = int(address.rpartition(":")[2])
        for _ in range(10):
            with (
                socket.create_connection(("127.0.0.1", port), timeout=10) as line,
                line.makefile("rb") as stream,
            ):
                head = stream.read(1000)
            assert head.startswith(bytes.fromhex("1a45dfa3"))  # EBML
            assert bytes.fromhex("1f43b675") in head  # a cluster; the frames are noise


@needs_gstreamer
def test_a_camera_that_ends_is_an_error(tmp_path):
    """When the camera's process dies the line loses its camera; it does not judge an old frame again."""
    frame = np.full((HEIGHT, WIDTH), 7, np.uint8)
    out = np.empty_like(frame)
    with (
        sent(still(frame, "GRAY8", tmp_path)) as (address, camera),
        open_source(section(address, "gray")) as source,
    ):
        assert np.array_equal(read(source, out), frame)
        camera.kill()
        with pytest.raises(SourceError, match="ended or broke off: check camera and cable"):
            read_all(source, out)


@needs_gstreamer
def test_a_line_that_stops_reading_fills_no_memory(tmp_path):
    """Who reads nothing is cut off; the camera serves the next one."""
    frame = np.full((HEIGHT * 8, WIDTH * 8), 7, np.uint8)
    with sent(still(frame, "GRAY8", tmp_path)) as (address, _):
        host, port = address.removeprefix("tcp://").split(":")
        with socket.create_connection((host, int(port))) as idle:
            wide = section(address, "gray", WIDTH * 8, HEIGHT * 8)
            with open_source(wide) as source:
                for _ in range(150):
                    assert source.wait(5.0) is not None
            idle.settimeout(10)
            received, sent_to_others = 0, 150 * frame.nbytes
            while received < sent_to_others and (data := idle.recv(1 << 20)):
                received += len(data)
    assert received < sent_to_others


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze: apt-get install systemd")
def test_systemd_has_nothing_to_say(tmp_path):
    """Every key of the camera's unit is known and every value can be read."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/usr/bin/gst-launch-1.0", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", copy], text=True, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
