"""Finds the NumPy that starts fastest on each Lambda runtime: times a wheel with each NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.version import Version
from rich.console import Console
from rich.table import Table

from builders.cache import Cache
from builders.matrix import Runtime
from ci.bench.candidates import installed
from ci.bench.measure import Network
from ci.bench.report import Machine, table
from ci.bench.starts import PARTS, Start, time_starts

DOCUMENT = Path(__file__).parents[2] / "docs/starts.md"
HEAD = """\
<!-- Written by ./scripts/bench --numpys; not to be edited. -->

# Which NumPy starts fastest

Most of the time in which a small model starts is NumPy's import. For each Lambda runtime: new
processes from the start to the first answer of {network}, in milliseconds of wall time, the
files in the system's cache, and with bytecode, as `./scripts/layer` packs them. The fastest NumPy
that the runtime's Linux accepts is in bold.

"""
COLUMNS = ("runtime", "NumPy", *PARTS, "total", "peak MB")


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A runtime that was started with one NumPy.

    Attributes:
        start: the times of its new processes.
    """

    runtime: Runtime
    wheel: str
    numpy: str
    start: Start

    @property
    def is_installable(self) -> bool:
        """True if the runtime's own Linux accepts the wheels of this NumPy."""
        return Version(self.numpy) <= Version(self.runtime.numpy.on_lambda)


@dataclass(frozen=True, kw_only=True)
class NumPys:
    """The result for all runtimes and NumPys.

    Attributes:
        network: the name of the network that each process ran.
    """

    machine: Machine
    network: str
    tried: tuple[Tried, ...]

    def fastest(self) -> Mapping[str, Tried]:
        """Return the installable NumPy with the least total time, by runtime."""
        found: dict[str, Tried] = {}
        for each in self.tried:
            best = found.get(each.runtime.name)
            if each.is_installable and (best is None or each.start.total < best.start.total):
                found[each.runtime.name] = each
        return found

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "machine": vars(self.machine),
            "network": self.network,
            "fastest": {name: each.numpy for name, each in self.fastest().items()},
            "starts": [
                {"runtime": each.runtime.name, "wheel": each.wheel, "numpy": each.numpy}
                | each.start.as_json()
                for each in self.tried
            ],
        }


def time_numpys(
    wheels: Mapping[Path, Runtime],
    network: Network,
    processes: int,
    cache: Cache,
    log: Path,
    show: Callable[[str], None],
) -> NumPys:
    """Start each wheel with each NumPy that its runtime is tried with, in turns.

    Args:
        wheels: the wheels, each with its runtime.
        processes: the number of processes to start with each NumPy.

    Raises:
        SmokeError: this machine lacks a Python, or a process does not start.
    """
    machine, found = Machine.here(), []
    for wheel, runtime in wheels.items():
        show(runtime.name)
        numpys = runtime.numpy.smoke_versions
        with installed([wheel] * len(numpys), runtime, cache, log, numpys) as candidates:
            starts = time_starts(network, candidates, processes, log)
        for numpy, start in zip(numpys, starts, strict=True):
            found.append(Tried(runtime=runtime, wheel=wheel.name, numpy=numpy, start=start))
    return NumPys(machine=machine, network=network.name, tried=tuple(found))


def show_numpys(found: NumPys, console: Console) -> None:
    """Print the table."""
    shown = Table(title=f"ms of a start with {found.network}")
    for heading in COLUMNS:
        shown.add_column(heading, justify="right")
    for row in _rows(found, "[green]{}[/]"):
        shown.add_row(*row)
    console.print(shown)


def numpys_document(found: NumPys, command: str) -> str:
    """Return the text of docs/starts.md."""
    machine = found.machine
    return "".join(
        [
            HEAD.format(network=found.network),
            *table(COLUMNS, list(_rows(found, "**{}**"))),
            f"\nMeasured on {machine.processor}, load {machine.load:.1f}, by\n\n",
            f"```\n{command}\n```\n",
        ]
    )


def _rows(found: NumPys, marked: str) -> Iterator[Sequence[str]]:
    fastest = found.fastest().values()
    for each in found.tried:
        yield (
            each.runtime.name,
            marked.format(each.numpy) if each in fastest else each.numpy,
            *(f"{each.start.least(part):.1f}" for part in PARTS),
            f"{each.start.total:.1f}",
            f"{min(each.start.peak_bytes) / 1e6:.0f}",
        )
