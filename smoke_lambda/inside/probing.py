"""Read what probes print. A probe runs inside a function's environment."""

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
"""The prefix of a probe's last line, before the JSON; see smoke_lambda/inside/probe.py."""

TIMING_MARK = "timing: "
"""The prefix of the JSON lines of timing.py and starting.py."""

READ_PACKED = "TFLITE_XNNPACK_WEIGHT_CACHE"
"""The environment variable with the file of packed weights to read, or a folder of such files."""

BUILD_PACKED = "TFLITE_XNNPACK_WEIGHT_CACHE_BUILD"
"""The environment variable with the file, or its folder, to make when the interpreter ends."""

CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE)

# The messages about a missing builtin operator, in lite/core/api/op_resolver.cc.
LACKS_VERSION = re.compile(r"Didn't find op for builtin opcode '(\w+)' version '(-?\d+)'")
LACKS_CODE = re.compile(r"Op builtin_code out of range: (\d+)\.")


def judged(status: int | None, output: str) -> tuple[str, dict[str, Any]]:
    """Return what went wrong with a probe (empty if nothing did), and what it found.

    Args:
        status: the probe's exit status; None if the probe did not end in time.
        output: everything that the probe wrote, including errors.
    """
    lines = output.strip().splitlines()
    results = [line for line in lines if line.startswith(MARK)]
    if status == 0 and results:
        found: dict[str, Any] = json.loads(results[-1][len(MARK) :])
        return "", found
    ended = "none in time" if status is None else named(status) + crash(status)
    return f"expected exit status 0, found {ended}: {''.join(lines[-1:])}", {}


def share(operators: Sequence[tuple[str, bool]]) -> float:
    """Return the share of operators that a delegate took, 0 to 1, from (name, taken) of each."""
    return sum(taken for _, taken in operators) / len(operators)


def named(status: int) -> str:
    """Return an exit status as text, with the name of its signal, if any.

    A process that a signal ended has the negative number of the signal, or in a container the
    number plus 128.
    """
    found = _signal(status)
    return f"{status} ({found.name})" if found else str(status)


def crash(status: int) -> str:
    """Return what it means if a signal ended a process that ran a model; empty if unknown."""
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
