"""Runs a fuzzer: rounds of cases until the time is over or a case fails."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.strategies import SearchStrategy

from builders.cache import write_atomically
from builders.errors import UsageError

ROUND = 50  # cases with one seed; the time is checked after each round
SHRINK_SECONDS = 60.0

Case = dict[str, Any]
"""One input, in types that JSON knows, so that it can be kept and tried again."""


class Target(Protocol):
    """A part of the project that a fuzzer tries."""

    @property
    def cases(self) -> SearchStrategy[Case]:
        """The strategy of the inputs."""

    @property
    def told(self) -> str:
        """A line of counts besides faults; empty if nothing was counted."""

    def fault(self, case: Case) -> str:
        """Try one input; return the fault in one sentence, or an empty text."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A case that failed, made as small as possible."""

    target: str
    seed: int
    fault: str
    case: Case

    def saved(self, folder: Path) -> Path:
        """Write the finding into a folder; return the file's path."""
        text = json.dumps(vars(self), indent=1, sort_keys=True)
        digest = hashlib.sha256(json.dumps(self.case, sort_keys=True).encode()).hexdigest()[:12]
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self.target}-{digest}.json"
        write_atomically(file, text.encode())
        return file


def loaded(file: Path) -> Finding:
    """Read a finding's file; raise UsageError if the file is anything else."""
    try:
        return Finding(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"{file} holds no finding", remedy="name a file that ./scripts/fuzz wrote"
        ) from error


@dataclass
class Campaign:
    """The state of a run: the number of cases so far, their seeds, and the finding."""

    tried: int = 0
    seeds: list[int] = field(default_factory=list)
    finding: Finding | None = None


def run(
    name: str,
    target: Target,
    *,
    seconds: float,
    first_seed: int,
    on_round: Callable[[Campaign], None] = lambda _: None,
) -> Campaign:
    """Try cases until the time is over or one fails.

    Args:
        name: the target's name, for a finding.
        target: the target to try.
        seconds: the time limit; a minute more may be used to make a failing case smaller.
        first_seed: the seed of the first round; each further round adds one.
        on_round: is called after each round.
    """
    campaign = Campaign()
    end = time.monotonic() + seconds
    while campaign.finding is None and time.monotonic() < end:
        number = first_seed + len(campaign.seeds)
        campaign.seeds.append(number)
        _round(name, target, campaign, number, end)
        on_round(campaign)
    return campaign


def _round(name: str, target: Target, campaign: Campaign, number: int, end: float) -> None:
    failed: list[tuple[Case, str]] = []

    @seed(number)
    @settings(
        max_examples=ROUND,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
        report_multiple_bugs=False,
        print_blob=False,
    )
    @given(target.cases)
    def holds(case: Case) -> None:
        # After a case has failed, hypothesis asks for smaller variants of it.
        if time.monotonic() > end + (SHRINK_SECONDS if failed else 0):
            return
        campaign.tried += 1
        fault = target.fault(case)
        if fault:
            failed.append((case, fault))
            raise AssertionError(fault)

    try:
        holds()
    except Exception:
        # The error says the same as `failed`, or that a case failed once but not again.
        if not failed:
            raise
    if failed:
        case, fault = min(reversed(failed), key=lambda pair: len(json.dumps(pair[0])))
        campaign.finding = Finding(target=name, seed=number, fault=fault, case=case)
