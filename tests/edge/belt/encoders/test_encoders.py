"""Each kind of encoder reports its count, and says what is wrong if it cannot."""

from __future__ import annotations

import asyncio
import os
import pty
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.server import ModbusTcpServer

from edge.belt.encoders import Counting, open_encoder, serial_port
from edge.belt.motion import Motion
from edge.errors import EncoderError
from edge.recipe import CounterEncoder, ModbusEncoder, SerialEncoder, SimulatedEncoder


def reading(encoder: Counting) -> int:
    """The next count; fails after a minute."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if (found := encoder.read()) is not None:
            return found[1]
    raise AssertionError("the encoder reported nothing")


def test_the_simulated_encoder_shows_the_simulated_belt() -> None:
    """Its count at a time is the position that every other process computes for this time."""
    section = SimulatedEncoder(ticks_per_s=5000, slip=0.2)
    with open_encoder(section) as encoder:
        found = [encoder.read() for _ in range(3)]
    for one in found:
        assert one is not None
        assert one[1] == Motion(section).position(one[0])
    assert found[0] != found[2]


class Board:
    """The other end of a serial line, as a board with an encoder has it."""

    def __init__(self) -> None:
        self.file, self._port = pty.openpty()
        self.device = os.ttyname(self._port)

    def send(self, data: bytes) -> None:
        os.write(self.file, data)

    def close(self) -> None:
        os.close(self.file)
        os.close(self._port)


@pytest.fixture
def board() -> Iterator[Board]:
    made = Board()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("sent", "count"),
    [
        (b"17\n42\n", 42),
        (b"17\r\n-42\r\n", -42),
        (b"9\n41\n42\n4", 42),
        (b"9\nhello\n 42 \nencoder 7\n", 42),
        (b"9\n42\n\n\n", 42),
    ],
    ids=["lines", "carriage returns and a sign", "half a line at the end", "other lines", "empty lines"],
)
def test_a_serial_line_gives_the_last_whole_count(board: Board, sent: bytes, count: int) -> None:
    """Half a line is never taken for a number."""
    with open_encoder(SerialEncoder(device=board.device)) as encoder:
        board.send(sent)
        assert reading(encoder) == count


def test_the_rest_of_a_line_is_put_to_its_beginning(board: Board) -> None:
    """A number that comes in two pieces is one number; the line that was under way at the start is left out."""
    with open_encoder(SerialEncoder(device=board.device)) as encoder:
        board.send(b"345\n12")
        assert encoder.read() is None
        board.send(b"346\n")
        assert reading(encoder) == 12_346


@pytest.mark.parametrize(
    ("sent", "told"), [(b"", "nothing comes"), (b"x\n\xff\xfe\n", "last line")], ids=["silence", "no numbers"]
)
def test_a_serial_line_without_counts_is_told(
    board: Board, sent: bytes, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong baud rate or a dead board ends the process, and the error names the key to look at."""
    monkeypatch.setattr(serial_port, "SILENT_S", 0.3)
    with open_encoder(SerialEncoder(device=board.device)) as encoder:
        board.send(sent)
        with pytest.raises(EncoderError, match=rf"{told}.*\[belt.encoder\] baud"):
            reading(encoder)


def test_a_board_that_is_unplugged_is_told() -> None:
    """An encoder that goes away is an error, and not a belt that stands."""
    board = Board()
    with open_encoder(SerialEncoder(device=board.device)) as encoder:
        board.close()
        with pytest.raises(EncoderError, match="the encoder is gone"):
            reading(encoder)


def test_a_file_is_no_serial_port(tmp_path: Path) -> None:
    """A wrong path is told at the start of the line."""
    (tmp_path / "file").write_text("17\n")
    with (
        pytest.raises(EncoderError, match="no serial port"),
        open_encoder(SerialEncoder(device=f"{tmp_path}/file")),
    ):
        pass
    with (
        pytest.raises(EncoderError, match="cannot open"),
        open_encoder(SerialEncoder(device=f"{tmp_path}/none")),
    ):
        pass


def counter(folder: Path, **files: str) -> CounterEncoder:
    """A count as the kernel shows one in sysfs."""
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n")
    return CounterEncoder(device=str(folder))


def test_a_counter_is_read_from_sysfs(tmp_path: Path) -> None:
    """The count is read anew each time, and wraps around where the driver says."""
    with open_encoder(counter(tmp_path, count="65530", ceiling="65535", enable="1")) as encoder:
        assert encoder.modulus == 65_536
        assert reading(encoder) == 65_530
        (tmp_path / "count").write_text("3\n")
        assert reading(encoder) == 3


def test_a_counter_without_a_ceiling_has_the_recipes_bits(tmp_path: Path) -> None:
    """Not every driver shows where it wraps around."""
    with open_encoder(counter(tmp_path, count="1")) as encoder:
        assert encoder.modulus == 2**32


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "name the folder of the count"),
        ({"count": "1", "enable": "0"}, "the counter is off: write 1 to"),
        ({"count": "1", "ceiling": "many"}, "expected a number, found 'many'"),
        ({"count": "none"}, "expected a number, found b'none'"),
    ],
    ids=["no count", "off", "ceiling", "no number"],
)
def test_a_counter_that_cannot_be_read_is_told(tmp_path: Path, files: dict[str, str], told: str) -> None:
    """The error names the file and what to do."""
    with pytest.raises(EncoderError, match=told), open_encoder(counter(tmp_path, **files)) as encoder:
        encoder.read()


class Plc:
    """A Modbus server, that of pymodbus, with registers from address 0 on."""

    def __init__(self, *registers: int) -> None:
        # The block's addresses begin at 1, those on the wire at 0.
        self.block = ModbusSequentialDataBlock(1, list(registers))
        self.port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self) -> None:
        context = ModbusServerContext(devices=ModbusDeviceContext(hr=self.block, ir=self.block), single=True)
        self._server = ModbusTcpServer(context, address=("127.0.0.1", 0))
        await self._server.listen()
        self.port = self._server.transport.sockets[0].getsockname()[1]
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._ready.set()
        await self._stop.wait()
        await self._server.shutdown()

    def __enter__(self) -> Plc:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("keys", "count"),
    [
        ({"bits": 16}, 2),
        ({"bits": 32}, 0x0002_8003),
        ({"bits": 32, "high_first": False}, 0x8003_0002),
        ({"bits": 16, "table": "input"}, 2),
    ],
    ids=["one register", "two", "lower half first", "input registers"],
)
def test_a_register_is_read_by_modbus(keys: dict[str, object], count: int) -> None:
    """Against a Modbus server that others wrote: 16 and 32 bits, both orders, both tables."""
    with Plc(1, 2, 0x8003, 4) as plc:
        section = ModbusEncoder(host="127.0.0.1", port=plc.port, register=1, **keys)
        with open_encoder(section) as encoder:
            assert encoder.modulus == 2**section.bits
            assert [reading(encoder) for _ in range(3)] == [count] * 3


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_register_that_is_not_there_is_told() -> None:
    """The PLC's own answer is passed on, with the key to look at."""
    with (
        Plc(1, 2) as plc,
        open_encoder(ModbusEncoder(host="127.0.0.1", port=plc.port, register=900)) as encoder,
        pytest.raises(EncoderError, match=r"register 900 cannot be read: it has no such register"),
    ):
        encoder.read()


@contextmanager
def peer(talk: Callable[[socket.socket], None]) -> Iterator[ModbusEncoder]:
    """A TCP server whose one connection is handled by `talk`."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                talk(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield ModbusEncoder(host="127.0.0.1", port=server.getsockname()[1], register=0)
        thread.join()


def _answer(body: bytes) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        request = connection.recv(64)
        connection.sendall(request[:4] + len(body + b"u").to_bytes(2, "big") + request[6:7] + body)

    return talk


@pytest.mark.parametrize(
    ("talk", "told"),
    [
        (lambda connection: connection.recv(64), "closed the connection|encoder is gone"),
        (lambda connection: connection.sendall(b"HTTP/1.1 400 Bad"), "does not speak Modbus"),
        (_answer(b"\x03\x04\x00\x01\x00\x02"), "does not fit the request"),
        (_answer(b"\x04\x02\x00\x01"), "does not fit the request"),
        (_answer(b"\x83\x04"), "exception 4"),
    ],
    ids=["closes", "another protocol", "two registers for one", "another function", "device failure"],
)
def test_an_answer_that_is_none_is_told(talk: Callable[[socket.socket], None], told: str) -> None:
    """What answers wrongly is an error, and never a count."""
    with peer(talk) as section, open_encoder(section) as encoder, pytest.raises(EncoderError, match=told):
        encoder.read()


def test_an_answer_to_an_earlier_request_is_left_out() -> None:
    """A count that comes too late is not taken for that of now."""

    def talk(connection: socket.socket) -> None:
        request = connection.recv(64)
        old = bytes([request[0], request[1] ^ 1]) + b"\0\0\0\5\1\3\2\0\7"
        connection.sendall(old + request[:2] + b"\0\0\0\5\1\3\2\0\x08")

    with peer(talk) as section, open_encoder(section) as encoder:
        assert reading(encoder) == 8


def test_nobody_listens() -> None:
    """A wrong address is told at the start of the line."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with (
        pytest.raises(EncoderError, match="cannot connect"),
        open_encoder(ModbusEncoder(host="127.0.0.1", port=port, register=0)),
    ):
        pass
