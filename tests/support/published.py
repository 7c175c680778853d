"""What a subscriber sees of a line: verdicts and heartbeats on an XPUB socket, and a replay socket."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
from parts import HEARTBEAT, VERDICT, part_of

from edge.memory.confirmed import Confirmed
from edge.memory.follow import Published
from edge.memory.ledger import Record
from edge.messages import Verdict
from edge.stages.kept import Kept
from edge.stages.replay import Answers, Replayer
from edge.stages.sockets import Sockets
from edge.wire import body_of

PATIENCE_MS = 60_000
A, B, C = "a" * 16, "b" * 16, "c" * 16


class Line:
    """Publishes what the test tells it to. What it keeps for replays, it keeps as a real line does."""

    def __init__(self, folder: Path, keys: Path | None, endpoint: str, replay: str) -> None:
        self.endpoint, self.replay = endpoint, replay
        self.run, self.number = A, 0
        self.kept = Kept()
        self.row = np.zeros(1, [("dropped", "<i8")])
        self.confirmed = Confirmed.create(folder / "confirmed", ["plc-1", "plc-2"])
        self._sockets = Sockets(folder, b"")
        self.gate = self._sockets.gate(keys) if keys else None
        self._socket = self._sockets.publisher((endpoint,), self.gate)
        self._replier = self._sockets.replier(replay, self.gate)
        self._new: list[Published] = []
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._replayer = Replayer(
            self._replier, Answers(self.run, self.kept, self.confirmed, self._follow), self.gate, self.row
        )

    def _follow(self) -> list[Published]:
        found, self._new = self._new, []
        return found

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Answer questions while in the block, on a thread."""
        closing = threading.Event()

        def answer() -> None:
            while not closing.is_set():
                with self._lock:
                    self._replayer.serve(5)
                time.sleep(0.001)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield
        finally:
            closing.set()
            thread.join()

    def verdict(self, topic: str = "accept", *, sent: bool = True, resent: bool = False) -> Verdict:
        """Publish the next verdict; it is lost on the way to subscribers unless `sent`."""
        self.number += 1
        kind = "pass" if topic == "accept" else "reject"
        reason = "clean" if topic == "accept" else "defect"
        return self._publish(
            msgspec.structs.replace(
                VERDICT,
                run=self.run,
                number=self.number,
                part_id=f"1-{self.number}",
                sequence=self.number,
                verdict=kind,
                reason=reason,
                resent=resent,
            ),
            f"{topic}.{VERDICT.line}".encode(),
            sent,
        )

    def _publish(self, verdict: Verdict, topic: bytes, sent: bool) -> Verdict:
        body = body_of(verdict)
        if sent:
            self._socket.send_multipart((topic, body))
        record = Record(
            topic=topic,
            body=body,
            reason=verdict.reason,
            published_ns=1000 * self.number,
            number=self.number,
        )
        self._new = [*self._new, Published(number=self.number, part=part_of(self.number), record=record)]
        return verdict

    def heartbeat(self) -> None:
        beat = msgspec.structs.replace(HEARTBEAT, run=self.run, number=self.number)
        self._socket.send_multipart((f"heartbeat.{VERDICT.line}".encode(), body_of(beat)))

    def end(self, run: str) -> None:
        """End the run, and begin the next one."""
        with self._lock:
            self._replayer.serve(0)
            self.kept.end(self.run)
            self.run, self.number = run, 0
            self._begin()

    def forget(self, run: str) -> None:
        """Begin a new run without knowing anything of the runs before."""
        with self._lock:
            self.kept = Kept()
            self.run, self.number = run, 0
            self._begin()

    def await_subscriber(self, topics: int = 4) -> None:
        """Wait until a subscriber has said which topics it wants."""
        while topics:
            assert self._socket.poll(PATIENCE_MS)
            topics -= self._socket.recv()[:1] == b"\x01"

    def await_subscriber_at_gate(self, topics: int = 4) -> None:
        """Wait until the gate has let a subscriber in who has said which topics it wants."""
        for _ in range(topics):
            assert self.has_subscriber(PATIENCE_MS)
            assert self._socket.recv()[:1] == b"\x01"

    def has_subscriber(self, timeout_ms: int) -> bool:
        """Whether one comes within this time, while the gate decides about those that knock."""
        for _ in range(timeout_ms // 5):
            if self.gate:
                self.gate.answer()
            if self._socket.poll(5):
                return True
        return False


@contextmanager
def published(folder: Path, keys: Path | None = None, endpoint: str = "", replay: str = "") -> Iterator[Line]:
    """A line on sockets in `folder`, or at these endpoints."""
    line = Line(
        folder, keys, endpoint or f"ipc://{folder}/verdicts.ipc", replay or f"ipc://{folder}/replay.ipc"
    )
    with line._sockets:
        yield line
