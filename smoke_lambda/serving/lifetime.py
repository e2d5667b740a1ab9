"""What server and gateway share of their lives: their log, and how they are told to end."""

from __future__ import annotations

import asyncio
import signal


def say(line: str) -> None:
    """One line of the log, at once."""
    print(line, flush=True)


def stopped() -> asyncio.Event:
    """Set by SIGTERM, as Kubernetes sends it, or SIGINT; in a running event loop."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
