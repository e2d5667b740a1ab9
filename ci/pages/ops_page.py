"""Writes OPERATORS.md: the tables of builtin operators for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from smoke_lambda.ops import OpsTable, shown

PAGE = Path(__file__).parents[2] / "OPERATORS.md"

HEAD = """\
<!-- Written by ./scripts/ops; not to be edited. -->
# Builtin operators

What the wheels have of each TensorFlow version: the versions of each builtin operator of
TensorFlow Lite, as the wheels themselves answer. `./scripts/smoke --model my.tflite WHEEL` names
those that a model needs and a wheel lacks, and the first TensorFlow version here that has them.
"""


def operators_page(table: OpsTable) -> str:
    """Return the page: first the operators that differ between versions, then the rest."""
    versions = list(table.tensorflows)
    rows = {
        name: [shown(table.versions(version, name)) for version in versions]
        for name in sorted(table.codes)
        if any(name in ops for ops in table.tensorflows.values())
    }
    same = [name for name, cells in rows.items() if len(set(cells)) == 1]
    differing = [name for name in rows if name not in same]
    parts = [HEAD]
    if differing:
        parts.append("\n## What differs\n\n")
        parts += _table(versions, [(name, *rows[name]) for name in differing])
        parts.append("\n## What is the same in all of them\n\n")
    else:
        parts.append(f"\n## TensorFlow {', '.join(versions)}\n\n")
    parts += _table(["versions"], [(name, rows[name][0]) for name in same])
    return "".join(parts)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| operator | {' | '.join(columns)} |\n"
    yield "| --- " * (len(columns) + 1) + "|\n"
    for row in rows:
        yield f"| {' | '.join(row)} |\n"
