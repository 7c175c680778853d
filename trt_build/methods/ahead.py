"""Prepares the next training batches on a second thread while the network trains on the current batch.

A thread is used because a forked process would inherit the locks of torch's threads and could deadlock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """Yields `make(0)` to `make(count - 1)` in order, and computes up to `ahead` of the results in advance.

    An error of `make(i)` is raised in place of result i. If `ahead` is 0, there is no second thread.
    """

    def __init__(self, make: Callable[[int], T], count: int, ahead: int) -> None:
        self.ahead = ahead
        self._make, self._count = make, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        if not self.ahead:
            yield from map(self._make, range(self._count))
            return
        waiting: deque[Future[T]] = deque()
        pool = ThreadPoolExecutor(1, "batches")
        try:
            for number in range(self._count):
                waiting.append(pool.submit(self._make, number))
                if len(waiting) > self.ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
