"""Compares measured times: ratios by network and by group, and the limits of these ratios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import geometric_mean

from ci.bench.candidates import Candidate, is_peer
from ci.bench.measure import Measured
from ci.bench.settings import ALL, GROUPS, Bar, Settings

AT_THREADS = 1
"""The number of threads that bars apply to; with more, the machine's other load is in the ratio."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The comparison of two runtimes for one group of networks.

    Attributes:
        networks: the number of networks in the group.
        mean: the geometric mean of the ratios of CPU time.
        worst: the largest ratio, with the network's name.
        bar: the largest permitted mean; None if there is no limit.
        worst_bar: the largest permitted `worst`; None if there is no limit.
    """

    group: str
    threads: int
    networks: int
    mean: float
    worst: tuple[float, str]
    bar: float | None
    worst_bar: float | None

    @property
    def ok(self) -> bool:
        """True if no ratio is above its bar."""
        return (self.bar is None or self.mean <= self.bar) and (
            self.worst_bar is None or self.worst[0] <= self.worst_bar
        )


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two runtimes, by their numbers: the times of `ours` are divided by those of `theirs`."""

    ours: int
    theirs: int
    bar: Bar | None


def pairs_of(candidates: Sequence[Candidate], against: int, settings: Settings) -> list[Pair]:
    """Return all pairs of a wheel under test and a wheel that it is compared with.

    Args:
        against: the number of the first wheel to compare with; those before it are under test.
    """
    return [
        Pair(ours=ours, theirs=theirs, bar=bar_of(candidates[ours], candidates[theirs], settings))
        for ours in range(against)
        for theirs in range(against, len(candidates))
    ]


def gated_pairs(candidates: Sequence[Candidate], settings: Settings) -> list[Pair]:
    """Return the pairs of the gate: each wheel of the first half, and its published one."""
    half = len(candidates) // 2
    return [
        Pair(
            ours=number,
            theirs=half + number,
            bar=Bar(
                wheel=candidate.subject.version,
                peer=candidates[half + number].name,
                mean={},
                worst=settings.gate.worst,
            ),
        )
        for number, candidate in enumerate(candidates[:half])
    ]


def bar_of(ours: Candidate, theirs: Candidate, settings: Settings) -> Bar | None:
    """Return the limits for one runtime against another; None if there are none."""
    if is_peer(ours.subject, ours.wheel) or not is_peer(theirs.subject, theirs.wheel):
        return None
    return settings.bar(ours.subject.version, theirs.subject.project)


def is_too_slow(measured: Measured, pairs: Sequence[Pair]) -> bool:
    """True if a ratio is above a bar, for one network or for its group's mean."""
    if measured.threads != AT_THREADS:
        return False
    for pair in pairs:
        ratio = measured.ratio(pair.ours, pair.theirs)
        if pair.bar is None or ratio is None:
            continue
        if ratio > min(pair.bar.worst, pair.bar.mean.get(measured.group, pair.bar.worst)):
            return True
    return False


def verdicts(measured: Sequence[Measured], pair: Pair) -> list[Verdict]:
    """Return the verdicts of each group and of all networks, by number of threads."""
    found = []
    for threads in sorted({each.threads for each in measured}):
        rows = [
            (each.group, ratio, each.network.name)
            for each in measured
            if each.threads == threads and (ratio := each.ratio(pair.ours, pair.theirs)) is not None
        ]
        for group in (*GROUPS, ALL):
            members = [(ratio, name) for of, ratio, name in rows if group in (of, ALL)]
            if members:
                found.append(_verdict(group, threads, members, pair.bar))
    return found


def _verdict(
    group: str, threads: int, members: Sequence[tuple[float, str]], bar: Bar | None
) -> Verdict:
    held = bar if threads == AT_THREADS else None
    return Verdict(
        group=group,
        threads=threads,
        networks=len(members),
        mean=geometric_mean(ratio for ratio, _ in members),
        worst=max(members),
        bar=held.mean.get(group) if held else None,
        worst_bar=held.worst if held else None,
    )
