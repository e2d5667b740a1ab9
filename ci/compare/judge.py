"""Compares measured times: the ratios of each turn, and whether they show a faster runtime."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from ci.compare.measure import Row
from ci.compare.settings import Price

SAME, FASTER, SLOWER = "same", "faster", "slower"
VCPU_MB = 1769
"""The memory from which on a function has a whole virtual CPU, in MB; with less, it has a part of
one (https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html)."""
MILLION = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A runtime's time divided by another's, measured turn by turn.

    Attributes:
        value: the median of the turns' ratios.
        low: the lower end of the middle part of the ratios.
        high: the upper end of that part.
    """

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """The result of the turns: FASTER, SLOWER, or SAME if the spread contains 1."""
        if self.low <= 1 <= self.high:
            return SAME
        return FASTER if self.value < 1 else SLOWER


def ratio(ours: Sequence[float], theirs: Sequence[float], spread: float) -> Ratio | None:
    """Return the ratio of the times of the same turns; None if a runtime has no times.

    Args:
        spread: the middle part of the ratios that counts, 0 to 1.
    """
    found = sorted(a / b for a, b in zip(ours, theirs, strict=False) if b > 0)
    if not found:
        return None
    cut = (1 - spread) / 2
    return Ratio(value=median(found), low=quantile(found, cut), high=quantile(found, 1 - cut))


def quantile(values: Sequence[float], part: float) -> float:
    """Return a quantile of sorted values; interpolate between two neighbours."""
    place = part * (len(values) - 1)
    below, above = math.floor(place), math.ceil(place)
    return values[below] + (values[above] - values[below]) * (place - below)


def fastest(rows: Sequence[Row], spread: float) -> list[Row]:
    """Return the fastest row at one virtual CPU, followed by the rows that are as fast."""
    timed = [row for row in rows if not row.error and row.cpu_ms.get(1)]
    if not timed:
        return []
    best = min(timed, key=lambda row: median(row.cpu_ms[1]))
    found = [best]
    for row in timed:
        if row is not best:
            by = ratio(row.cpu_ms[1], best.cpu_ms[1], spread)
            if by is not None and by.verdict == SAME:
                found.append(row)
    return found


def million_cost(warm_ms: float, memory_mb: float, price: Price) -> float:
    """Return the cost of a million requests, in US dollars, for warm inferences alone.

    Below VCPU_MB, a function with half of the memory takes twice as long, and costs the same. So
    the cost is counted at VCPU_MB, or at the memory that the function needs if that is more.

    Args:
        warm_ms: the CPU time of a warm inference, in milliseconds.
        memory_mb: the memory that the function needs.
    """
    gigabytes = max(memory_mb, VCPU_MB) / 1024
    seconds = max(1, math.ceil(warm_ms)) / 1000
    return MILLION * seconds * gigabytes * price.gb_second + price.million_requests
