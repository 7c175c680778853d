"""Follows a line's verdicts, keeps its last parts in memory, and gives what is to be kept to the writer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from msgspec import UnsetType

from ..memory.follow import Follower, Published
from ..memory.recorded import Recorded
from ..memory.stages import Stages
from ..messages import Part, Verdict, utc
from ..recipe import Recorder as Choice
from ..wire import verdict_from
from .box import Head
from .choose import is_wanted
from .frames import Frames
from .kept import Kept, LastParts
from .occasion import Occasion
from .writer import Writer


class Recorder:
    """Reads the line's shared memory, and writes nothing there but its own counts. No part waits for it."""

    def __init__(
        self,
        choice: Choice,
        follower: Follower,
        frames: Mapping[str, Frames],
        stages: Stages,
        writer: Writer,
        counts: Recorded,
        head: Callable[[str, str], Head],
    ) -> None:
        """`frames` are each camera's, by its name. `head` makes a black box's head from `why` and the time."""
        self._choice, self._follower, self._frames, self._stages = choice, follower, frames, stages
        self._writer, self._counts, self._head = writer, counts, head
        self._last = LastParts(choice.box.parts, choice.box.memory_mb * 2**20)
        self._occasion = Occasion(choice.box)
        self._failed_ns = {name: int(stages[name]["failed_ns"][0]) for name in stages}
        self._lost_before = counts["overwritten"]
        self._rate_before = counts["rate"]

    def step(self, now_ns: int, now_at_ns: int, *, ending: bool = False) -> None:
        """Do what is to be done now. `now_ns` is the monotonic clock's time, `now_at_ns` the wall clock's.

        `ending` says that no more parts will come.
        """
        # In this order: a frame whose verdict is taken here was whole before, so it is copied by then.
        published = self._follower.take()
        for frames in self._frames.values():
            frames.copy()
        for name in self._failed():
            self._occasion.failed(name, now_ns)
        for one in published:
            kept = self._kept(one)
            self._last.add(kept)
            self._occasion.heard(kept.verdict, now_ns)
            if is_wanted(kept.verdict, self._choice.passes):
                self._writer.picture(kept)
            self._write_box(now_ns, now_at_ns)
        self._write_box(now_ns, now_at_ns, ending=ending)
        lost = self._follower.lost + sum(frames.lost for frames in self._frames.values())
        self._counts["overwritten"] = self._lost_before + lost
        self._counts["rate"] = self._rate_before + self._occasion.skipped

    def failed(self, process: str, now_ns: int) -> None:
        """Note that a process has ended which is not among the stages, such as the supervisor."""
        self._occasion.failed(process, now_ns)

    def _write_box(self, now_ns: int, now_at_ns: int, *, ending: bool = False) -> None:
        if (why := self._occasion.due(now_ns, ending=ending)) and (parts := self._last.take()):
            self._writer.box(self._head(why, utc(now_at_ns)), parts, now_at_ns)

    def _failed(self) -> Iterator[str]:
        """Yield the names of the processes that have ended since the last call."""
        for name, before_ns in self._failed_ns.items():
            if (failed_ns := int(self._stages[name]["failed_ns"][0])) != before_ns:
                self._failed_ns[name] = failed_ns
                yield name

    def _kept(self, published: Published) -> Kept:
        verdict = verdict_from(published.record.body)
        looks = (self._frames[camera].take(entry) for camera, entry in _entries(published.part, verdict))
        return Kept(
            number=published.number,
            topic=published.record.topic.decode(),
            body=published.record.body,
            verdict=verdict,
            looks=tuple(look for look in looks if look is not None),
        )


def _entries(part: Part, verdict: Verdict) -> list[tuple[str, int]]:
    """Return each camera that saw the part, and the number of the look in its ledger."""
    if isinstance(verdict.looks, UnsetType):
        return [(part.camera, part.entry)]
    return [(look.camera, look.entry) for look in verdict.looks if look.entry is not None]
