"""Compare what was measured: ratios by network and group, and what they are held to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import geometric_mean

from ci.bench.candidates import Candidate, is_peer
from ci.bench.measure import Measured
from ci.bench.settings import ALL, GROUPS, Bar, Settings

AT_THREADS = 1
"""What bars are about: with more, the machine's other work is in the ratio."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One group of networks, in one runtime by another.

    Attributes:
        networks: how many it has.
        mean: geometric, of the ratios of CPU time.
        worst: the largest ratio, with the network's name.
        bar: the most that the mean may be; None: nothing is asked.
        worst_bar: the same of the worst.
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
        """True unless a ratio is above its bar."""
        return (self.bar is None or self.mean <= self.bar) and (
            self.worst_bar is None or self.worst[0] <= self.worst_bar
        )


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two runtimes, by their numbers: the first's times are divided by the second's."""

    ours: int
    theirs: int
    bar: Bar | None


def pairs_of(candidates: Sequence[Candidate], against: int, settings: Settings) -> list[Pair]:
    """What is compared: each wheel with each that it is against.

    Args:
        against: the number of the first of those; all before it are wheels under test.
    """
    return [
        Pair(ours=ours, theirs=theirs, bar=bar_of(candidates[ours], candidates[theirs], settings))
        for ours in range(against)
        for theirs in range(against, len(candidates))
    ]


def gated_pairs(candidates: Sequence[Candidate], settings: Settings) -> list[Pair]:
    """What the gate compares: each wheel with its published one, which are the second half."""
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
    """What is asked of one runtime against another."""
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
    """The groups of what was measured, and all of it, by number of threads."""
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
