"""Who may connect to a line that has keys, over real sockets with real keys."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq
from floods import GREETING, READY
from lines import until
from ports import free_port
from published import PATIENCE_MS, A, Line, published

from edge.errors import LineError
from edge.keys import ClientKeys, Pair, client_keys, line_pair, make_pair
from edge.messages import Verdict
from edge.stages import gate
from edge.subscriber import Heard
from edge.subscription import Place, Subscription


def let_in(line: Path, folder: Path, name: str) -> ClientKeys:
    """The keys of a subscriber whom the line allows to connect."""
    public = make_pair(folder, name)
    (line / "allowed" / public.name).write_bytes(public.read_bytes())
    (folder / "line.key").write_bytes((line / "line.key").read_bytes())
    return client_keys(folder)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """The line's folder of keys."""
    make_pair(tmp_path / "keys", "line")
    (tmp_path / "keys/allowed").mkdir()
    return tmp_path / "keys"


@pytest.fixture
def allowed(keys: Path, tmp_path: Path) -> ClientKeys:
    """The keys of plc-1, who may connect."""
    return let_in(keys, tmp_path / "plc", "plc-1")


@pytest.fixture
def line(tmp_path: Path, keys: Path, allowed: ClientKeys) -> Iterator[Line]:
    ports = free_port(), free_port()
    with published(tmp_path, keys, *(f"tcp://127.0.0.1:{port}" for port in ports)) as found:
        yield found


@contextmanager
def heard(line: Line, found: ClientKeys | None, **more: object) -> Iterator[Subscription]:
    more = {"silence_ms": PATIENCE_MS, "patience_ms": PATIENCE_MS} | more
    with Subscription(line.endpoint, keys=found, **more) as subscription:  # type: ignore[arg-type]
        yield subscription


def numbers(subscription: Subscription, count: int) -> list[int]:
    found = []
    while len(found) < count:
        event = subscription.hear(PATIENCE_MS)
        message = getattr(event, "message", None)
        if isinstance(message, Verdict):
            found.append(message.number)
    return found


def strangers(keys: Path, tmp_path: Path) -> dict[str, ClientKeys | None]:
    """Subscribers who may not connect."""
    line = line_pair(keys).public
    public, secret = zmq.curve_keypair()
    unknown = Pair(public=public, secret=secret)
    return {
        "no key": None,
        "a key that is not allowed": ClientKeys(own=unknown, line=line),
        "the key of another line": ClientKeys(own=let_in(keys, tmp_path / "other", "other").own, line=public),
        "an allowed public key alone": ClientKeys(
            own=Pair(public=let_in(keys, tmp_path / "thief", "thief").own.public, secret=secret), line=line
        ),
    }


@pytest.mark.parametrize(
    "name", ["no key", "a key that is not allowed", "the key of another line", "an allowed public key alone"]
)
def test_a_stranger_hears_nothing_and_takes_nothing_away(
    line: Line, allowed: ClientKeys, keys: Path, tmp_path: Path, name: str
) -> None:
    """Nor is anything that it asks acted upon, while the one who is allowed hears all."""
    stranger = strangers(keys, tmp_path)[name]
    with heard(line, allowed, replay=line.replay) as subscription:
        line.await_subscriber_at_gate()
        with heard(line, stranger, replay=line.replay, patience_ms=1, after=Place(run=A, number=0)) as barred:
            assert not line.has_subscriber(300)
            for _ in range(3):
                line.verdict()
            with line.answering():
                assert barred.hear(200) is None
                assert numbers(subscription, 3) == [1, 2, 3]
    assert int(line.row["dropped"][0]) == 0


def test_a_key_counts_when_it_is_put_there(line: Line, allowed: ClientKeys, keys: Path) -> None:
    """A subscriber that knocks all the time is let in once its key is allowed; nothing is restarted."""
    (keys / "allowed/plc-1.key").rename(keys / "plc-1.key")
    time.sleep(2 * gate.READ_NS / 1e9)
    with heard(line, allowed, silence_ms=200) as subscription:
        assert not line.has_subscriber(300)
        (keys / "plc-1.key").rename(keys / "allowed/plc-1.key")

        def hears() -> bool:
            line.has_subscriber(5)
            line.verdict()
            return isinstance(subscription.hear(50), Heard)

        until(hears, "it hears the line")


def test_a_key_that_is_taken_away_counts_from_the_next_connection_on(
    line: Line, allowed: ClientKeys, keys: Path
) -> None:
    """Who is in stays in; who comes again is refused."""
    with heard(line, allowed) as subscription:
        line.await_subscriber_at_gate()
        (keys / "allowed/plc-1.key").unlink()
        time.sleep(2 * gate.READ_NS / 1e9)
        with heard(line, allowed):
            assert not line.has_subscriber(300)
        line.verdict()
        assert numbers(subscription, 1) == [1]


def test_a_folder_of_keys_that_is_gone_lets_nobody_in(line: Line, allowed: ClientKeys, keys: Path) -> None:
    """Rather than everybody."""
    (keys / "allowed").rename(keys / "elsewhere")
    time.sleep(2 * gate.READ_NS / 1e9)
    with heard(line, allowed):
        assert not line.has_subscriber(300)


def test_a_subscriber_confirms_under_the_name_of_its_key_alone(
    line: Line, allowed: ClientKeys, keys: Path
) -> None:
    """Or one subscriber could hide that another one is dead."""
    with line.answering():
        with heard(line, allowed, replay=line.replay, confirm="plc-1") as subscription:
            line.verdict()
            line.heartbeat()
            until(
                lambda: line.verdict() and subscription.hear(10) and line.confirmed["plc-1"].number,
                "it is confirmed",
            )
        with (
            heard(line, allowed, replay=line.replay, confirm="plc-2") as subscription,
            pytest.raises(LineError, match="'plc-2' does not confirm"),
        ):
            subscription.hear(PATIENCE_MS)
    assert line.confirmed["plc-2"].number == 0


def plain(port: int) -> socket.socket:
    opened = socket.create_connection(("127.0.0.1", port), timeout=60)
    opened.sendall(GREETING + READY + b"\x00\x01\x01")
    return opened


def half(port: int) -> socket.socket:
    opened = socket.create_connection(("127.0.0.1", port), timeout=60)
    opened.sendall(GREETING[:20])
    return opened


def silent(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


@pytest.mark.parametrize(("knock", "count"), [(plain, 50), (half, 50), (silent, 1000)])
def test_who_knocks_without_a_key_keeps_nobody_out(
    line: Line, allowed: ClientKeys, knock: Callable[[int], socket.socket], count: int
) -> None:
    """A greeting without keys, half a greeting and a thousand connections that say nothing."""
    port = int(line.endpoint.rpartition(":")[2])
    knocking = [knock(port) for _ in range(count)]
    try:
        assert not line.has_subscriber(100)
        with heard(line, allowed) as subscription:
            line.await_subscriber_at_gate()
            for _ in range(3):
                line.verdict()
            assert numbers(subscription, 3) == [1, 2, 3]
    finally:
        for opened in knocking:
            opened.close()
