"""On which Lambda runtimes does the wheel install and load?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from packaging.version import Version

from builders.audit.elf import Extension
from builders.audit.elf_checks import dotted, glibc_needed
from builders.audit.report import Check, RuntimeVerdict
from builders.matrix import Matrix, Runtime
from builders.wheelname import OwnWheelName

# A wheel that fails one of these checks may fail to install or to load on every runtime.
FATAL = (
    "archive",
    "metadata",
    "record",
    "elf",
    "loader",
    "python",
    "libraries",
    "stack",
    "undefined",
    "baseline",
)


def verdicts(
    matrix: Matrix, name: OwnWheelName, elf: Extension | None, checks: Sequence[Check]
) -> Iterator[RuntimeVerdict]:
    """Yield one verdict per runtime of the matrix, in the order of the matrix."""
    for runtime in matrix.runtimes:
        faults = list(_faults(runtime, name, elf, checks))
        reason = "; ".join(faults)
        if elf is not None and not faults:
            reason = f"needs GLIBC_{dotted(glibc_needed(elf))} <= {runtime.glibc}"
        yield RuntimeVerdict(
            runtime=runtime.name, os=runtime.os, ok=elf is not None and not faults, reason=reason
        )


def _faults(
    runtime: Runtime, name: OwnWheelName, elf: Extension | None, checks: Sequence[Check]
) -> Iterator[str]:
    if name.runtime is None:
        yield "the file name tells no Python of the matrix"
        return
    if name.runtime != runtime:
        yield f"built for {name.runtime.tag}"
        return
    if name.glibc is not None and Version(dotted(name.glibc)) > Version(runtime.glibc):
        yield f"tagged for glibc {dotted(name.glibc)} > {runtime.glibc}"
    if elf is None:
        yield "no readable extension"
    elif Version(needed := dotted(glibc_needed(elf))) > Version(runtime.glibc):
        yield f"needs GLIBC_{needed} > {runtime.glibc}"
    if failed := [check.name for check in checks if not check.ok and check.name in FATAL]:
        yield f"fails {', '.join(failed)}"
