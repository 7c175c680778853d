"""The watch over a GPU: it follows what is read, and neither a lost GPU nor a hung driver holds up the line."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import pytest

from edge.errors import EngineError
from edge.monitoring.gpu import LOST, THROTTLE_REASONS, GpuState, GpuWatch


class Asked:
    """A GPU that a test tells what to do."""

    name = "asked"

    def __init__(self) -> None:
        self.state = GpuState(temperature_c=50.0, throttled=frozenset(THROTTLE_REASONS[:1]))
        self.lost: Exception | None = None
        self.failed = 0  # readings
        self.answering = threading.Event()
        self.answering.set()

    def read(self) -> GpuState:
        self.answering.wait(60)
        if self.lost:
            self.failed += 1
            raise self.lost
        return self.state


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.fixture
def asked() -> Asked:
    asked = Asked()
    yield asked
    asked.answering.set()


def test_the_watch_follows_the_gpu(asked):
    """What was read last is there to be told."""
    with GpuWatch(lambda: asked, every_s=0.01) as watch:
        until(lambda: watch.latest() == asked.state)
        asked.state = GpuState(temperature_c=60.0)
        until(lambda: watch.latest() == asked.state)
        assert watch.latest().temperature_c == 60.0


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (EngineError("fell off the bus"), "fell off the bus"),
        (TypeError("no bytes"), "TypeError('no bytes')"),
        (MemoryError(), "MemoryError()"),
    ],
    ids=["lost", "a library's mistake", "short memory"],
)
def test_a_lost_gpu_is_logged_once_and_noticed_when_it_is_back(asked, caplog, error, said):
    """A GPU that is gone does not fill the log, tells nothing, and never ends the line, whatever failed."""
    caplog.set_level(logging.INFO)
    with GpuWatch(lambda: asked, every_s=0.001) as watch:
        until(lambda: watch.latest() == asked.state)
        for _ in range(2):
            asked.failed, asked.lost = 0, error
            until(lambda: asked.failed > 10)
            assert watch.latest() == LOST
            asked.lost = None
            until(lambda: watch.latest() == asked.state)
    messages = [f"GPU asked cannot be read: {said}", "GPU asked can be read again"]
    assert [record.message for record in caplog.records] == 2 * messages


def test_a_driver_that_hangs_holds_nobody_up_and_keeps_no_old_state(asked):
    """Whoever asks is answered at once, soon with nothing; and the line stops though the driver does not."""
    watch = GpuWatch(lambda: asked, every_s=0.01)
    with watch:
        until(lambda: watch.latest() == asked.state)
        asked.answering.clear()
        until(lambda: watch.latest() == LOST)
    assert not asked.answering.is_set()


def test_without_a_gpu_there_is_nothing_to_tell():
    """The watch ends by itself where there is no GPU."""
    watch = GpuWatch(lambda: None, every_s=60)
    with watch:
        watch._thread.join(30)
        assert watch.latest() is None
        assert not watch._thread.is_alive()


def test_a_search_that_fails_is_no_gpu(caplog):
    """A library that breaks while it looks for a GPU is logged with its traceback, and the line goes on."""

    def find():
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "a name that is no text")

    with GpuWatch(find, every_s=60) as watch:
        watch._thread.join(30)
        assert watch.latest() is None
    assert "no GPU among the metrics: looking for it failed" in caplog.text
    assert "a name that is no text" in caplog.text
