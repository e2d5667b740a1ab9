"""Print the reports of ./scripts/conform for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console

from smoke_lambda.conform.report import Failure

MOST = 40
"""The number of failures that are printed; --json has all."""
MODELS = 3
"""The number of models that a note names; --json has all."""


def show_conform(report: dict[str, Any], console: Console) -> None:
    """Print a ConformReport."""

    def line(text: str, style: str = "") -> None:
        console.print(text, style=style, soft_wrap=True, highlight=False, markup=False)

    line(f"{report['wheel']}\n{report['place']}, NumPy {report['numpy']}")
    line(
        f"{report['models']} of {report['asked']} models ({report['part']}), "
        f"{len(report['operators'])} builtin operators in {report['versions']} versions, "
        f"{report['seconds']:.0f} s"
    )
    if report["uncovered"]:
        line(f"operators that none of them has: {', '.join(report['uncovered'])}")
    expected = "" if report["expected_delegation"] else "; how many it should take is not judged"
    line(
        f"XNNPACK takes {report['delegated']} of {report['nodes']} nodes "
        f"({report['delegated_share']:.1%}{expected})"
    )
    checked = "on" if report["heap_checked"] else "off"
    line(f"heap checks {checked}; memory watched with {report['memory_measured']} models")
    for note in notes(report["notes"]):
        line(f"note: {note}", "yellow")
    for failure in report["failures"][:MOST]:
        line(f"FAILED {Failure(**failure)}", "red")
    if len(report["failures"]) > MOST:
        line(f"and {len(report['failures']) - MOST} more failures; --json has all")
    line("passed" if report["ok"] else "FAILED", "" if report["ok"] else "red")
    line(f"log: {report['log']}")


def notes(found: Sequence[str]) -> Iterator[str]:
    """Yield one line for all models that have the same note."""
    models: dict[str, list[str]] = {}
    for note in found:
        model, _, words = note.partition(": ")
        models.setdefault(words, []).append(model)
    for words, names in models.items():
        more = f" and {len(names) - MODELS} more" if len(names) > MODELS else ""
        yield f"{', '.join(names[:MODELS])}{more}: {words}"
