"""What probes print, which run inside a function's environment, and how it is read."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

PROBE = "smoke_lambda.inside.probe"
PROBE_SECONDS = 60.0
NO_VARIABLES: Mapping[str, str] = MappingProxyType({})
MARK = "found: "
"""Begins a probe's last line, which is JSON; see smoke_lambda/inside/probe.py."""

TIMING_MARK = "timing: "
"""Begins the lines of timing.py and starting.py that are JSON."""

READ_PACKED = "TFLITE_XNNPACK_WEIGHT_CACHE"
"""Names the file of packed weights that is read, or a folder of such files."""

BUILD_PACKED = "TFLITE_XNNPACK_WEIGHT_CACHE_BUILD"
"""Names the one that is made when the interpreter ends."""

CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE)

# lite/core/api/op_resolver.cc says so of a builtin operator.
LACKS_VERSION = re.compile(r"Didn't find op for builtin opcode '(\w+)' version '(-?\d+)'")
LACKS_CODE = re.compile(r"Op builtin_code out of range: (\d+)\.")


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
    ended = "none in time" if status is None else named(status) + crash(status)
    return f"expected exit status 0, found {ended}: {''.join(lines[-1:])}", {}


def share(operators: Sequence[tuple[str, bool]]) -> float:
    """The share of operators that a delegate took, 0 to 1, from (name, taken) of each."""
    return sum(taken for _, taken in operators) / len(operators)


def named(status: int) -> str:
    """An exit status, or the signal that it stands for; a container adds 128."""
    found = _signal(status)
    return f"{status} ({found.name})" if found else str(status)


def crash(status: int) -> str:
    """What it means that a signal ended a process that ran a model; empty where nothing."""
    found = _signal(status)
    if found is signal.SIGKILL:
        return ", as of a process that takes more memory than there is"
    if found in CRASHES:
        return (
            ", a crash in the runtime: the model is damaged, or it meets a fault of "
            "TensorFlow Lite (docs/troubleshooting.md, Segmentation fault)"
        )
    return ""


def _signal(status: int) -> signal.Signals | None:
    try:
        return signal.Signals(-status if status < 0 else status - 128)
    except ValueError:
        return None
