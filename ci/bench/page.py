"""Writes a run of the benchmark as a page with plots, and as docs/performance.md.

The page is one file that makes no requests, as wheels/index.html is.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ci.bench import plot
from ci.bench.judge import AT_THREADS, Pair, verdicts
from ci.bench.measure import Measured
from ci.bench.report import Report, plain, table
from ci.bench.settings import GROUPS
from ci.bench.starts import PARTS

TEMPLATES = Path(__file__).with_name("templates")
DOCUMENT = Path(__file__).parents[2] / "docs/performance.md"

HEAD = """\
<!-- Written by ./scripts/bench --document; not to be edited. -->

# How fast the wheels are

CPU time of one inference, on one thread: the least of many samples. All runtimes took turns on the
same processor, so a ratio is worth more than a time: below 1 the first runtime is faster.

"""


def page(report: Report, command: str) -> str:
    """Return the page.

    Args:
        command: the command line that gave the report.
    """
    style = (TEMPLATES / "bench.css").read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template("bench.html").render(
        report=report,
        command=command,
        style=Markup(style),
        digest=f"sha256-{digest}",
        plots=[(_title(report, pair), *_plotted(report, pair)) for pair in report.pairs],
        threads=sorted({each.threads for each in report.networks}),
        starts={name: _starts(report, name) for name in report.starts},
        parts=PARTS,
        cell=plain,
        by_group=by_group,
    )


def document(report: Report, command: str) -> str:
    """Return the text of docs/performance.md; the arguments are as for `page`."""
    return "".join(_document(report, command))


def _document(report: Report, command: str) -> Iterator[str]:
    machine = report.machine
    yield HEAD
    yield f"Measured on {machine.processor}, {machine.cpus} processors, load {machine.load:.1f}, "
    yield "by\n\n"
    yield f"```\n{command}\n```\n\n"
    yield from table(
        ["runtime", "wheel", "NumPy", "XNNPACK"],
        [[c.name, f"`{c.wheel.name}`", c.numpy, c.xnnpack] for c in report.candidates],
    )
    for pair in report.pairs:
        yield f"\n## {_title(report, pair)}\n\n"
        yield from table(
            ["networks", "how many", "mean", "worst", "held to"],
            [
                [
                    verdict.group,
                    str(verdict.networks),
                    f"{verdict.mean:.2f}",
                    f"{verdict.worst[0]:.2f} ({verdict.worst[1]})",
                    _held(verdict.bar, verdict.worst_bar),
                ]
                for verdict in verdicts(report.networks, pair)
                if verdict.threads == AT_THREADS
            ],
        )
    for threads in sorted({each.threads for each in report.networks}):
        yield f"\n## Milliseconds of an inference, {threads} thread{'s' * (threads > 1)}\n\n"
        yield "In parentheses: the part of the network's operators that XNNPACK takes.\n\n"
        yield from table(
            ["network", *(candidate.name for candidate in report.candidates)],
            [
                [each.network.name, *(plain(timing) for timing in each.timings)]
                for each in by_group(report.networks)
                if each.threads == threads
            ],
        )
    for name, found in report.starts.items():
        yield f"\n## Milliseconds of a start with {name}\n\n"
        yield "New processes, wall time, the files in the system's cache.\n\n"
        yield from table(
            ["runtime", "NumPy's version", *PARTS, "total", "peak MB"],
            [
                [
                    candidate.name,
                    candidate.numpy,
                    *(f"{start.least(part):.1f}" for part in PARTS),
                    f"{start.total:.1f}",
                    f"{min(start.peak_bytes) / 1e6:.0f}",
                ]
                for candidate, start in zip(report.candidates, found, strict=True)
            ],
        )


def by_group(networks: Sequence[Measured]) -> list[Measured]:
    """Return the networks sorted by group, then by name."""
    return sorted(networks, key=lambda each: (GROUPS.index(each.group), each.network.name))


def _title(report: Report, pair: Pair) -> str:
    return f"{report.candidates[pair.ours].name} / {report.candidates[pair.theirs].name}"


def _held(mean: float | None, worst: float | None) -> str:
    bars = [("mean", mean), ("worst", worst)]
    return ", ".join(f"{name} ≤ {bar:.2f}" for name, bar in bars if bar is not None)


def _plotted(report: Report, pair: Pair) -> tuple[Markup, Markup]:
    """Return two plots of a pair: of its groups, and of its networks."""
    title = _title(report, pair)
    means = [
        plot.Bar(name=f"{v.group} ({v.networks})", ratio=v.mean, most=v.bar)
        for v in verdicts(report.networks, pair)
        if v.threads == AT_THREADS
    ]
    networks = [
        plot.Bar(name=each.network.name, ratio=ratio, most=pair.bar.worst if pair.bar else None)
        for each in by_group(report.networks)
        if each.threads == AT_THREADS and (ratio := each.ratio(pair.ours, pair.theirs)) is not None
    ]
    return (
        plot.ratios(f"mean CPU time of each group, {title}", means) if means else Markup(""),
        plot.ratios(f"CPU time of each network, {title}", networks) if networks else Markup(""),
    )


def _starts(report: Report, name: str) -> Markup:
    rows = [
        (candidate.name, [start.least(part) for part in PARTS])
        for candidate, start in zip(report.candidates, report.starts[name], strict=True)
    ]
    return plot.stacks(f"parts of a start with {name}, in milliseconds", rows)
