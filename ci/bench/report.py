"""The results of a run of the benchmark, as data and as tables for people."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ci.bench.candidates import Candidate
from ci.bench.judge import Pair, Verdict, verdicts
from ci.bench.measure import Measured, Timing
from ci.bench.starts import PARTS, Start

APART = 1e-3
"""Answers that differ by more than this share of their largest number are marked."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The machine of a run: ratios are valid for its kind of processor.

    Attributes:
        load: the mean number of running processes in the minute before the run.
    """

    processor: str
    cpus: int
    kernel: str
    load: float

    @staticmethod
    def here() -> Machine:
        """Return this machine."""
        text = Path("/proc/cpuinfo").read_text()
        name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
        return Machine(
            processor=name[1] if name else platform.machine(),
            cpus=len(os.sched_getaffinity(0)),
            kernel=platform.release(),
            load=os.getloadavg()[0],
        )


@dataclass(frozen=True, kw_only=True)
class Report:
    """The results of a run.

    Attributes:
        networks: the measurements, by network and number of threads.
        starts: the times of starts, by network and runtime.
    """

    machine: Machine
    candidates: tuple[Candidate, ...]
    pairs: tuple[Pair, ...]
    networks: tuple[Measured, ...]
    starts: dict[str, list[Start]]

    @property
    def ok(self) -> bool:
        """True if no ratio is above its bar, and all wheels under test have times."""
        ours = {pair.ours for pair in self.pairs}
        return all(verdict.ok for _, verdict in self.verdicts()) and not any(
            each.timings[number].error for each in self.networks for number in ours
        )

    def verdicts(self) -> Iterator[tuple[Pair, Verdict]]:
        """Give each pair with the verdict on each of its groups."""
        for pair in self.pairs:
            for verdict in verdicts(self.networks, pair):
                yield pair, verdict

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        names = [candidate.name for candidate in self.candidates]
        return {
            "machine": vars(self.machine),
            "runtimes": [
                {"name": c.name, "wheel": c.wheel.name, "numpy": c.numpy, "xnnpack": c.xnnpack}
                for c in self.candidates
            ],
            "ok": self.ok,
            "comparisons": [
                {
                    "of": names[pair.ours],
                    "by": names[pair.theirs],
                    **vars(verdict),
                    "ok": verdict.ok,
                }
                for pair, verdict in self.verdicts()
            ],
            "networks": [
                {
                    "network": each.network.name,
                    "group": each.group,
                    "threads": each.threads,
                    "runtimes": {
                        name: timing.as_json()
                        for name, timing in zip(names, each.timings, strict=True)
                    },
                }
                for each in self.networks
            ],
            "starts": {
                network: {name: s.as_json() for name, s in zip(names, found, strict=True)}
                for network, found in self.starts.items()
            },
        }


def show(report: Report, console: Console) -> None:
    """Print a report."""
    machine = report.machine
    console.print(
        f"{machine.processor}, {machine.cpus} CPUs, load {machine.load:.1f}; "
        "least CPU time, measured in turns",
        highlight=False,
    )
    for threads in sorted({each.threads for each in report.networks}):
        console.print(_networks(report, threads))
    for network, starts in report.starts.items():
        console.print(_starts(report, network, starts))
    for pair in report.pairs:
        console.print(_comparison(report, pair))


def _networks(report: Report, threads: int) -> Table:
    table = Table(title=f"ms CPU of an inference, {threads} thread" + "s" * (threads > 1))
    for heading in ("network", "group"):
        table.add_column(heading)
    for candidate in report.candidates:
        table.add_column(candidate.name, justify="right")
    for each in report.networks:
        if each.threads == threads:
            cells = [cell(timing) for timing in each.timings]
            table.add_row(each.network.name, each.group, *cells)
    return table


def plain(timing: Timing) -> str:
    """Return a time, the share of nodes that XNNPACK took, and how far apart the answers are."""
    if timing.error:
        return timing.error[:40]
    apart = f", apart {timing.apart:.1g}" if timing.apart > APART else ""
    return f"{min(timing.cpu_ms):.3f} ({timing.share:.0%}{apart})"


def cell(timing: Timing) -> str:
    """Return the same text as `plain`, with colours for a console."""
    if timing.error:
        return f"[red]{plain(timing)}[/]"
    return f"[yellow]{plain(timing)}[/]" if timing.apart > APART else plain(timing)


def _starts(report: Report, network: str, starts: Sequence[Start]) -> Table:
    table = Table(title=f"ms of a start with {network}")
    for heading in ("runtime", "NumPy", *PARTS, "total", "peak MB", "page faults"):
        table.add_column(heading, justify="right")
    for candidate, start in zip(report.candidates, starts, strict=True):
        table.add_row(
            candidate.name,
            candidate.numpy,
            *(f"{start.least(part):.1f}" for part in PARTS),
            f"{start.total:.1f}",
            f"{min(start.peak_bytes) / 1e6:.0f}",
            str(min(start.faults)),
        )
    return table


def _comparison(report: Report, pair: Pair) -> Table:
    ours, theirs = report.candidates[pair.ours].name, report.candidates[pair.theirs].name
    table = Table(title=f"{ours} / {theirs}")
    for heading in ("group", "threads", "networks", "mean", "bar", "worst", "bar", "network"):
        table.add_column(heading)
    for verdict in verdicts(report.networks, pair):
        ratio, network = verdict.worst
        table.add_row(
            verdict.group,
            str(verdict.threads),
            str(verdict.networks),
            held(verdict.mean, verdict.bar),
            f"{verdict.bar:.2f}" if verdict.bar else "",
            held(ratio, verdict.worst_bar),
            f"{verdict.worst_bar:.2f}" if verdict.worst_bar else "",
            network,
        )
    return table


def held(ratio: float, bar: float | None) -> str:
    """Return a ratio, in red if it is above its bar."""
    text = f"{ratio:.3f}"
    return f"[red]{text}[/]" if bar is not None and ratio > bar else text


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Give the lines of a Markdown table."""
    yield f"| {' | '.join(head)} |\n"
    yield f"|{' --- |' * len(head)}\n"
    for row in rows:
        yield f"| {' | '.join(row)} |\n"
