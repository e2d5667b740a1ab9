"""The targets that a command is about, and the steps that it would run. Nothing is run here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from builders.architecture import own_name
from builders.errors import UsageError
from builders.matrix import Matrix, Runtime, Target

# Steps that run the wheel.
RUN = ("smoke", "conform")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The targets that the user asked for. An empty tuple stands for the default."""

    tensorflow: tuple[str, ...] = ()
    python: tuple[str, ...] = ()
    arch: tuple[str, ...] = ()
    only: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PlannedStep:
    """A step of a plan."""

    name: str
    cached: bool


def select(
    matrix: Matrix,
    selection: Selection,
    *,
    machine: str,
    runs_here: Callable[[Runtime, str], bool],
) -> list[Target]:
    """Return the targets of a selection, each once, in the matrix's order.

    Args:
        machine: this machine's architecture, which is the default.
        runs_here: returns True if this machine can run a Python for an architecture. By
            default, only such Pythons are selected for this machine's architecture.

    Raises:
        UsageError: a selected name is not in the matrix, or no target is left.
    """
    if selection.only:
        wanted = {matrix.target(identifier).identifier for identifier in selection.only}
        return [target for target in matrix.targets() if target.identifier in wanted]
    versions = {
        matrix.tensorflow(version).version
        for version in selection.tensorflow or (matrix.recommended.version,)
    }
    pythons = {matrix.runtime(python).python for python in selection.python}
    architectures = {architecture(matrix, arch) for arch in selection.arch or (machine,)}
    targets = [
        target
        for target in matrix.targets()
        if target.tensorflow.version in versions
        and target.arch in architectures
        and (
            target.runtime.python in pythons
            if pythons
            else runs_here(target.runtime, target.arch) or target.arch != machine
        )
    ]
    if not targets:
        raise UsageError(
            "this machine has none of the matrix's Pythons",
            remedy="install one (pyenv install 3.12), or name one with --python",
        )
    return targets


def plan(
    targets: Sequence[Target],
    *,
    is_cached: Callable[[str, Target], bool],
    runs_here: Callable[[Runtime, str], bool],
) -> list[PlannedStep]:
    """Return the steps that these targets need, in order, each once.

    Args:
        is_cached: returns True if a step (`fetch`, `sources`, `core`, `wheel`, `audit`,
            `smoke`, `conform`) of a target is done already.
    """
    steps: dict[str, PlannedStep] = {}
    for target in targets:
        version = target.tensorflow.version
        shared = {
            "fetch": f"fetch tf{version}",
            "sources": f"sources tf{version}",
            "core": f"core tf{version}-{target.arch}",
        }
        own = {kind: f"{kind} {target.identifier}" for kind in ("wheel", "audit", *RUN)}
        for kind, name in (shared | own).items():
            if kind in RUN and not runs_here(target.runtime, target.arch):
                continue
            steps.setdefault(name, PlannedStep(name=name, cached=is_cached(kind, target)))
    return list(steps.values())


def architecture(matrix: Matrix, arch: str) -> str:
    """Return wheels' name of an architecture, given any of its names.

    Raises:
        UsageError: the matrix does not have the architecture.
    """
    arch = own_name(arch)
    if arch not in matrix.architectures:
        raise UsageError(
            f"no architecture {arch!r} in the matrix",
            remedy=f"choose one of {', '.join(matrix.architectures)}",
        )
    return arch
