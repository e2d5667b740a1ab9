"""Writes what a model server answers under load into docs/kubernetes.md."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ci.pages.marked import between

DOCUMENT = Path(__file__).parents[2] / "docs/kubernetes.md"
BEGIN = "<!-- load: written by ./scripts/serve --document -->\n"
END = "<!-- /load -->"

COLUMNS = {
    "clients": "clients",
    "per_second": "requests/s",
    "p50_ms": "p50, ms",
    "p95_ms": "p95, ms",
    "p99_ms": "p99, ms",
    "clients_cpu_ms": "clients' CPU, ms",
    "direct_p50_ms": "direct, ms",
    "of_direct": "of direct",
}
"""The columns of a measurement, by the names of smoke_lambda.serving.load."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The measurements of a server with one model.

    Attributes:
        copies: the number of the server's interpreters.
        rows: a row for each number of clients, the largest number last; see
            smoke_lambda.serving.load.
    """

    name: str
    copies: int
    rows: Sequence[Mapping[str, Any]]


def write_document(found: Iterable[Loaded], document: Path = DOCUMENT) -> None:
    """Write measurements into the page about Kubernetes."""
    part = "".join(f"{line}\n" for line in ["", *_lines(list(found)), ""])
    text = document.read_text(encoding="utf-8")
    document.write_text(between(text, BEGIN, END, part), encoding="utf-8")


def _lines(found: Sequence[Loaded]) -> Iterator[str]:
    processors = len(os.sched_getaffinity(0))
    yield f"Server and clients on the same machine with {processors} processors:"
    yield ""
    yield f"| {' | '.join(('model', 'copies', *COLUMNS.values()))} |"
    yield "| --- " * (2 + len(COLUMNS)) + "|"
    for each in found:
        for row in each.rows:
            cells = (f"`{each.name}`", each.copies, *(row[key] for key in COLUMNS))
            yield f"| {' | '.join(map(str, cells))} |"
    yield ""
    for name in dict.fromkeys(each.name for each in found):
        one, *more = sorted(
            (each for each in found if each.name == name), key=lambda each: each.copies
        )
        for each in more:
            last = each.rows[-1]
            times = last["of_direct"] / one.rows[-1]["of_direct"]
            share = last["per_second"] * last["clients_cpu_ms"] / 1000 / processors
            yield (
                f"{each.copies} copies of `{name}` answer {times:.2f} times the requests of one, "
                f"while the clients take {share:.0%} of the processors' time."
            )
