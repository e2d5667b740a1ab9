"""What probes print, which run inside a function's environment, and how it is read."""

from __future__ import annotations

import json
import signal
from typing import Any

PROBE = "smoke_lambda.probe"
PROBE_SECONDS = 60.0
MARK = "found: "
"""Begins a probe's last line, which is JSON; see smoke_lambda/probe.py."""


def judged(status: int | None, output: str) -> tuple[str, dict[str, Any]]:
    """What went wrong with a probe, or nothing, and what it found.

    Args:
        status: its exit status; None if it did not end.
        output: all that it wrote, errors among it.
    """
    lines = output.strip().splitlines()
    results = [line for line in lines if line.startswith(MARK)]
    if status == 0 and results:
        found: dict[str, Any] = json.loads(results[-1][len(MARK) :])
        return "", found
    ended = "none in time" if status is None else _named(status)
    return f"expected exit status 0, found {ended}: {''.join(lines[-1:])}", {}


def _named(status: int) -> str:
    """An exit status, or the signal that it stands for; a container adds 128."""
    number = -status if status < 0 else status - 128
    try:
        return f"{status} ({signal.Signals(number).name})"
    except ValueError:
        return str(status)
