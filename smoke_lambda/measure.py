"""What a function costs under Lambda's limits: times, memory, and how little of it will do."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from builders.errors import SmokeError
from smoke_lambda import events
from smoke_lambda.bench import FLOAT32, function_variables
from smoke_lambda.limits import MEMORY_MB, Limits
from smoke_lambda.site import Measured

CPUS = (1, 2)
WARM = 20
LEAST_MB = 128  # that Lambda offers
STEP_MB = 16


class Limited(Protocol):
    """A place that limits what it runs."""

    def function(
        self, model: str, variables: Mapping[str, str], limits: Limits
    ) -> AbstractContextManager[Measured]:
        """A function under limits; see site.Place."""


def measure(place: Limited, cpus: int) -> dict[str, Any]:
    """Measure the float32 model's function.

    Args:
        cpus: how many there are; more are not measured.

    Returns:
        `at`: for each number of virtual CPUs, `vcpus`, `init_ms` (the emulator's
        report), `first_ms` (the first request, init included), `warm_ms` (the median of
        the next ones), `peak_bytes` (the cgroup's), `resident_bytes` (the processes').
        `least_mb`: the least memory, of Lambda's sizes and to STEP_MB, with which it
        answers; None if even MEMORY_MB is not enough.
    """
    return {
        "at": [_timed(place, number) for number in CPUS if number <= cpus],
        "least_mb": least(lambda memory_mb: _answers(place, memory_mb)),
    }


def least(works: Callable[[int], bool], *, most_mb: int = MEMORY_MB) -> int | None:
    """The least memory in MB with which something works, to STEP_MB; None if none does.

    Most functions work with the least that there is, so that is tried first.
    """
    if works(LEAST_MB):
        return LEAST_MB
    if not works(most_mb):
        return None
    low, high = LEAST_MB, most_mb
    while high - low > STEP_MB:
        middle = (low + high) // 2 // STEP_MB * STEP_MB
        if works(middle):
            high = middle
        else:
            low = middle
    return high


def _timed(place: Limited, vcpus: int) -> dict[str, Any]:
    event = {"image": events.image(events.SAMPLE)}
    with place.function(FLOAT32, function_variables(FLOAT32), Limits(cpus=vcpus)) as function:
        for _ in range(1 + WARM):
            function.invoke(event)
        first, *warm = function.ms
        return {
            "vcpus": vcpus,
            "init_ms": function.init_ms(),
            "first_ms": first,
            "warm_ms": statistics.median(warm),
            "peak_bytes": function.peak_bytes(),
            "resident_bytes": function.resident_bytes(),
        }


def _answers(place: Limited, memory_mb: int) -> bool:
    """Whether the function answers, more than once, with that much memory."""
    limits = Limits(memory_mb=memory_mb)
    event = {"image": events.image(events.SAMPLE)}
    try:
        with place.function(FLOAT32, function_variables(FLOAT32), limits) as function:
            replies = [function.invoke(event) for _ in range(3)]
    except (OSError, ValueError, SmokeError):
        return False
    return all("class" in reply for reply in replies)
