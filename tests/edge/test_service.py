"""What systemd hears of a line, on a real notification socket."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lines import Subscriber, judged, running, stop, until

from edge.service import Service


class Manager:
    """A service manager's end of the socket."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.setblocking(False)
        self._heard: list[str] = []

    @property
    def heard(self) -> list[str]:
        while True:
            try:
                self._heard += self._socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return self._heard

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


def test_systemd_hears_ready_then_life_then_stopping(
    tmp_path: Path, endless: Callable[..., Path], manager: Manager
) -> None:
    """READY comes when the line is armed, WATCHDOG while it judges, STOPPING when it is told to stop."""
    with Subscriber(tmp_path) as subscriber, running(endless(), NOTIFY_SOCKET=manager.address) as line:
        until(judged(subscriber, 5), "parts are judged", line)
        until(lambda: manager.heard.count("WATCHDOG=1") >= 3, "the watchdog is fed", line)
        stop(line)
    states = [said for said in manager.heard if not said.startswith("STATUS=") and said != "WATCHDOG=1"]
    assert states == ["READY=1", "STOPPING=1"]
    assert any(said.startswith("STATUS=judging: ") for said in manager.heard)


def test_the_watchdog_starves_while_the_line_is_blind(
    tmp_path: Path, endless: Callable[..., Path], manager: Manager
) -> None:
    """A line whose parts are all unknown is alive and useless: systemd is to restart it."""
    recipe = endless(fault="nan")
    with Subscriber(tmp_path) as subscriber, running(recipe, NOTIFY_SOCKET=manager.address) as line:
        until(lambda: any(b["state"] == "blind" for b in subscriber.heartbeats), "the line is blind", line)
        until(lambda: any("blind" in said for said in manager.heard), "systemd is told", line)
        fed, beats = manager.heard.count("WATCHDOG=1"), len(subscriber.heartbeats)
        until(lambda: len(subscriber.heartbeats) >= beats + 3, "three more heartbeats", line)
        assert manager.heard.count("WATCHDOG=1") == fed
        stop(line)


def test_without_a_service_manager_nothing_is_said() -> None:
    """A line in a terminal needs no systemd, and a socket that is gone does not stop one."""
    Service(None).notify("READY=1")
    Service("/nowhere/notify").notify("READY=1")
    assert not Path("/nowhere/notify").exists()
