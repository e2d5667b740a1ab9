"""Shares copies of a model among requests; each takes a copy, or waits in a bounded queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import LifoQueue
from threading import Lock
from typing import Any, Generic, TypeVar

from smoke_lambda.serving.errors import exhausted

T = TypeVar("T")
Result = TypeVar("Result")


class Pool(Generic[T]):
    """Runs work on copies, with one thread per copy.

    A thread that ends one piece of work takes the next one itself. It would otherwise wait for the
    event loop, which has no processor of its own when all copies are at work.

    Args:
        copies: the copies; each does one piece of work at a time.
        queue: the number of pieces of work that may wait.
    """

    def __init__(self, copies: Sequence[T], queue: int) -> None:
        self.copies = len(copies)
        self._most = queue
        self._unfinished = 0
        self._counting = Lock()
        # Last in, first out: the copy that was used last is still in the processor's caches.
        self._idle: LifoQueue[T] = LifoQueue()
        for copy in copies:
            self._idle.put_nowait(copy)
        self._threads = ThreadPoolExecutor(len(copies), thread_name_prefix="copy")

    @property
    def busy(self) -> int:
        """The number of copies at work."""
        return min(self._unfinished, self.copies)

    @property
    def waiting(self) -> int:
        """The number of pieces of work in the queue."""
        return max(self._unfinished - self.copies, 0)

    async def run(self, work: Callable[[T], Result]) -> Result:
        """Do one piece of work as soon as a copy is free.

        A caller that is cancelled while it waits leaves the queue. Work that has begun always runs
        to its end, and its copy is free only then.

        Raises:
            ServingError: RESOURCE_EXHAUSTED, if the queue is full.
        """
        with self._counting:
            if self._unfinished >= self.copies + self._most:
                raise exhausted(f"{self.waiting} requests are waiting already")
            self._unfinished += 1
        begun = self._threads.submit(self._with_a_copy, work)
        begun.add_done_callback(self._finished)
        return await asyncio.wrap_future(begun)

    def _with_a_copy(self, work: Callable[[T], Result]) -> Result:
        copy = self._idle.get_nowait()  # there are as many threads as copies
        try:
            return work(copy)
        finally:
            self._idle.put_nowait(copy)

    def _finished(self, _done: Future[Any]) -> None:
        with self._counting:
            self._unfinished -= 1

    async def close(self) -> None:
        """Wait for all work that has begun or waits, and take the copies out of use."""
        await asyncio.to_thread(self._threads.shutdown)
