"""What systemd hears of a line, on a real notification socket."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from lines import Subscriber, judged, running, stop, until

from edge.monitoring.systemd import Service, feeding_ms


class Manager:
    """A service manager's end of the socket, which it reads at once, as systemd does."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self.heard: list[str] = []

    def __enter__(self) -> Manager:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._thread = threading.Thread(target=self._hear)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", self.address)
        self._thread.join()
        self._socket.close()

    def _hear(self) -> None:
        while said := self._socket.recv(4096):
            self.heard += said.decode().splitlines()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with Manager(tmp_path / "notify") as manager:
        yield manager


def test_systemd_hears_ready_then_life_then_stopping(
    tmp_path: Path, endless: Callable[..., Path], manager: Manager
) -> None:
    """READY comes when the line is armed, WATCHDOG while it judges, STOPPING when it is told to stop."""
    with Subscriber(tmp_path) as subscriber, running(endless(), NOTIFY_SOCKET=manager.address) as line:
        until(judged(subscriber, 5), "parts are judged", line)
        until(lambda: any(s.startswith("STATUS=judging: ") for s in manager.heard), "systemd is told", line)
        fed = manager.heard.count("WATCHDOG=1")
        until(lambda: manager.heard.count("WATCHDOG=1") >= fed + 3, "the watchdog is fed", line)
        stop(line)
        until(lambda: "STOPPING=1" in manager.heard, "systemd is told of the end")
    states = [said for said in manager.heard if not said.startswith("STATUS=") and said != "WATCHDOG=1"]
    assert states == ["READY=1", "STOPPING=1"]


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


def test_a_line_with_rare_heartbeats_feeds_its_watchdog_all_the_same(
    tmp_path: Path, endless: Callable[..., Path], manager: Manager
) -> None:
    """Subscribers too get heartbeats as often as systemd wants to hear of the line."""
    recipe = endless()
    recipe.write_text(recipe.read_text().replace("heartbeat_ms = 200", "heartbeat_ms = 25000"))
    watchdog = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "900000"}
    with Subscriber(tmp_path) as subscriber, running(recipe, **watchdog) as line:
        until(lambda: manager.heard.count("WATCHDOG=1") >= 8, "the watchdog is fed", line)
        fed, beats = manager.heard.count("WATCHDOG=1"), len(subscriber.heartbeats)
        until(lambda: len(subscriber.heartbeats) >= beats + 8, "eight more heartbeats", line)
        assert manager.heard.count("WATCHDOG=1") >= fed + 4
        stop(line)


@pytest.mark.parametrize(
    ("environment", "period_ms"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "10000000"}, 3333),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}, 3333),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "1"}, 1),
    ],
)
def test_how_often_to_feed_follows_the_watchdog(environment: dict[str, str], period_ms: int | None) -> None:
    """Three times before it ends the line, and not at all where it watches another process or none."""
    assert feeding_ms(environment) == period_ms


def test_without_a_service_manager_nothing_is_said() -> None:
    """A line in a terminal needs no systemd, and a socket that is gone does not stop one."""
    Service(None).notify("READY=1")
    Service("/nowhere/notify").notify("READY=1")
    assert not Path("/nowhere/notify").exists()


def test_a_service_manager_that_does_not_read_does_not_hold_up_the_line(tmp_path: Path) -> None:
    """Once its queue is full, what is said to it is lost, and the line goes on."""
    address = str(tmp_path / "notify")
    with ExitStack() as opened:

        def opened_socket() -> socket.socket:
            made = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            made.setblocking(False)
            return made

        deaf = opened_socket()
        deaf.bind(address)
        # One sender's own buffer may be full before the queue is, which systemd makes longer.
        sent = True
        while sent:
            sender, sent = opened_socket(), False
            with suppress(BlockingIOError):
                while True:
                    sender.sendto(b"WATCHDOG=1", address)
                    sent = True
        Service(address).notify("STOPPING=1")
        heard = set()
        with suppress(BlockingIOError):
            while True:
                heard.add(deaf.recv(100))
    assert heard == {b"WATCHDOG=1"}
