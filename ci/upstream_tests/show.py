"""Print the report of a run of upstream's tests."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ci.upstream_tests.report import Report


def show_report(report: Report, console: Console, source: str) -> None:
    """Print a report: the tests that did not simply pass, the counts, then the faults.

    Args:
        source: a description of the tests that were run.
    """
    table = Table(title=escape(report.wheel), title_justify="left")
    for column in ("test", "outcome", "why"):
        table.add_column(column)
    for test, (outcome, why) in report.reasons.items():
        table.add_row(escape(test), outcome, escape(why))
    console.print(table)
    counts = ", ".join(f"{number} {outcome}" for outcome, number in report.counts.items())
    around = ", ".join(f"{name} {version}" for name, version in report.environment.items())
    console.print(f"{counts} (with {around})", highlight=False, soft_wrap=True)
    console.print(f"{source}, sha256 {report.test_sha256}", highlight=False, soft_wrap=True)
    for fault in report.faults:
        console.print(f"FAILED {fault}", style="red", markup=False, soft_wrap=True)
