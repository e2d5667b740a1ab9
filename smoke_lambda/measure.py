"""Measure what a function costs under Lambda's limits: times, memory, and the least memory."""

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
LEAST_MB = 128  # the least that Lambda offers
STEP_MB = 16


class Limited(Protocol):
    """A place that runs functions under limits."""

    def function(
        self, model: str, variables: Mapping[str, str], limits: Limits
    ) -> AbstractContextManager[Measured]:
        """Run a function under limits; see site.Place."""


def measure(place: Limited, cpus: int) -> dict[str, Any]:
    """Measure the float32 model's function.

    Args:
        cpus: the number of processors of the machine; more virtual CPUs are not measured.

    Returns:
        `at`: for each number of virtual CPUs, `vcpus`, `init_ms` (from the emulator's
        report), `first_ms` (the first request, init included), `warm_ms` (the median of
        the next requests), `peak_bytes` (of the cgroup), `resident_bytes` (of the processes).
        `least_mb`: the least memory with which the function answers, from Lambda's minimum
        on and exact to STEP_MB; None if even MEMORY_MB is not enough.
    """
    return {
        "at": [_timed(place, number) for number in CPUS if number <= cpus],
        "least_mb": least(lambda memory_mb: _answers(place, memory_mb)),
    }


def least(works: Callable[[int], bool], *, most_mb: int = MEMORY_MB) -> int | None:
    """Return the least memory in MB for which `works` is true, exact to STEP_MB.

    Most functions work with LEAST_MB, so that is tried first. Return None if even `most_mb`
    is not enough.
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
    """True if the function answers three times with that much memory."""
    limits = Limits(memory_mb=memory_mb)
    event = {"image": events.image(events.SAMPLE)}
    try:
        with place.function(FLOAT32, function_variables(FLOAT32), limits) as function:
            replies = [function.invoke(event) for _ in range(3)]
    except (OSError, ValueError, SmokeError):
        return False
    return all("class" in reply for reply in replies)
