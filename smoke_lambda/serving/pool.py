"""Shares copies of a model among requests; each takes a copy, or waits in a bounded queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from smoke_lambda.serving.errors import exhausted

T = TypeVar("T")
Result = TypeVar("Result")


class Pool(Generic[T]):
    """Runs work on copies, with one thread per copy. A pool belongs to one event loop.

    Args:
        copies: the copies; each does one piece of work at a time.
        queue: the number of pieces of work that may wait.
    """

    def __init__(self, copies: Sequence[T], queue: int) -> None:
        self.copies = len(copies)
        self.waiting = 0
        self._most = queue
        # Last in, first out: the copy that was used last is still in the processor's caches.
        self._idle: asyncio.LifoQueue[T] = asyncio.LifoQueue()
        for copy in copies:
            self._idle.put_nowait(copy)
        self._threads = ThreadPoolExecutor(len(copies), thread_name_prefix="copy")

    @property
    def busy(self) -> int:
        """The number of copies at work."""
        return self.copies - self._idle.qsize()

    async def run(self, work: Callable[[T], Result]) -> Result:
        """Do one piece of work as soon as a copy is free.

        A caller that is cancelled while it waits leaves the queue. Work that has begun always runs
        to its end, and its copy is free only then.

        Raises:
            ServingError: RESOURCE_EXHAUSTED, if the queue is full.
        """
        if self._idle.empty() and self.waiting >= self._most:
            raise exhausted(f"{self.waiting} requests are waiting already")
        self.waiting += 1
        try:
            copy = await self._idle.get()
        finally:
            self.waiting -= 1
        loop = asyncio.get_running_loop()
        begun: Future[Result] = self._threads.submit(work, copy)
        done = asyncio.wrap_future(begun, loop=loop)
        done.add_done_callback(lambda future: self._free(copy, future))
        return await asyncio.shield(done)

    def _free(self, copy: T, future: asyncio.Future[Result]) -> None:
        if not future.cancelled():
            future.exception()  # retrieved, else asyncio warns if nobody waits
        self._idle.put_nowait(copy)

    async def close(self) -> None:
        """Wait for all work that has begun or waits, and take the copies out of use."""
        for _ in range(self.copies):
            await self._idle.get()
        self._threads.shutdown(wait=False)
