"""Copies of a model, shared by all requests: each takes one, or waits in a bounded queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from smoke_lambda.serving.errors import exhausted

T = TypeVar("T")
Result = TypeVar("Result")


class Pool(Generic[T]):
    """Runs work on copies, in as many threads; for one event loop.

    Args:
        copies: what work is done with, one piece at a time.
        queue: how many pieces of work may wait.
    """

    def __init__(self, copies: Sequence[T], queue: int) -> None:
        self.copies = len(copies)
        self.waiting = 0
        self._most = queue
        # The copy that was used last has its memory in the processor's caches.
        self._idle: asyncio.LifoQueue[T] = asyncio.LifoQueue()
        for copy in copies:
            self._idle.put_nowait(copy)
        self._threads = ThreadPoolExecutor(len(copies), thread_name_prefix="copy")

    @property
    def busy(self) -> int:
        """Copies at work."""
        return self.copies - self._idle.qsize()

    async def run(self, work: Callable[[T], Result]) -> Result:
        """Do one piece of work, when a copy is free.

        Who stops waiting leaves the queue; work that has begun is done to its end, and its copy
        is free only then.

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
            future.exception()  # looked at, so that one nobody waits for is no warning
        self._idle.put_nowait(copy)

    async def close(self) -> None:
        """Wait for the work that has begun or waits; then the copies are gone."""
        for _ in range(self.copies):
            await self._idle.get()
        self._threads.shutdown(wait=False)
