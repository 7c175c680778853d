"""Which endpoints there are, and who can reach them."""

from __future__ import annotations

import pytest

from edge.endpoints import is_endpoint, is_open, is_tcp, port_of


@pytest.mark.parametrize(
    ("endpoint", "tcp", "open_", "port"),
    [
        ("ipc:///run/line.ipc", False, False, None),
        ("ipc://@line", False, False, None),
        ("tcp://127.0.0.1:5571", True, False, 5571),
        ("tcp://127.9.0.1:5571", True, False, 5571),
        ("tcp://localhost:*", True, False, None),
        ("tcp://[::1]:5571", True, False, 5571),
        ("tcp://0.0.0.0:5571", True, True, 5571),
        ("tcp://*:5571", True, True, 5571),
        ("tcp://[::]:5571", True, True, 5571),
        ("tcp://10.0.0.3:99999", True, True, 99999),
        ("tcp://127.0.0.1.example.com:5571", True, True, 5571),
        ("tcp://localhost.example.com:5571", True, True, 5571),
        ("tcp://eth0:5571", True, True, 5571),
    ],
)
def test_an_endpoint_says_who_can_reach_it(endpoint: str, tcp: bool, open_: bool, port: int | None) -> None:
    """A port is open unless its host is surely the loopback."""
    assert is_endpoint(endpoint)
    assert (is_tcp(endpoint), is_open(endpoint), port_of(endpoint)) == (tcp, open_, port)


@pytest.mark.parametrize(
    "text",
    ["", "127.0.0.1:5571", "tcp://127.0.0.1", "tcp://:5571", "udp://127.0.0.1:5571", "ipc://", "tcp://a b:1"],
)
def test_other_text_is_no_endpoint(text: str) -> None:
    """It is refused before anything is bound to it."""
    assert not is_endpoint(text)
