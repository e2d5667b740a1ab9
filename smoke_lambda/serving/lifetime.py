"""The log and the stop signal, which the model server and the gateway share."""

from __future__ import annotations

import asyncio
import signal


def say(line: str) -> None:
    """Write a line to the log without delay."""
    print(line, flush=True)


def stopped() -> asyncio.Event:
    """Return an event that SIGTERM, which Kubernetes sends, or SIGINT sets.

    The caller must run in an event loop.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
