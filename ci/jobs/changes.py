"""Chooses the targets that a pull request must build, by the files that it changes."""

from __future__ import annotations

import subprocess
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

from builders.errors import UsageError
from builders.matrix import MATRIX_FILE, Matrix, Target, parse_matrix
from ci.jobs.rules import Rules

ROOT = Path(__file__).parents[2]


def needed(
    targets: Sequence[Target], rules: Rules, changed: Iterable[str], before: Matrix | None
) -> list[Target]:
    """Return the targets that the changed files concern, in the order of `targets`.

    Args:
        before: the matrix before the change; None if it is not known.
    """
    wanted: set[str] = set()
    for file in changed:
        found = rules.match(file)
        admitted = [t for t in targets if found.admits(t)]
        if found.needs == "rows":
            admitted = [t for t in admitted if before is None or _differs(t, before)]
        elif found.needs == "ends":
            admitted = _ends(admitted)
        elif found.needs == "none":
            admitted = []
        wanted.update(t.identifier for t in admitted)
    return [t for t in targets if t.identifier in wanted]


def _ends(targets: Sequence[Target]) -> list[Target]:
    """Return the oldest and newest target of each TensorFlow and architecture."""
    groups: dict[tuple[str, str], list[Target]] = {}
    for target in targets:
        groups.setdefault((target.tensorflow.version, target.arch), []).append(target)
    return [target for group in groups.values() for target in (group[0], group[-1])]


def _differs(target: Target, before: Matrix) -> bool:
    """True if a target is new, or if anything in its rows of the matrix changed.

    A target has not changed if only another target of its row became verified.
    """
    for old in before.targets():
        if old.identifier == target.identifier:
            return _rows(old) != _rows(target)
    return True


def _rows(target: Target) -> tuple[object, ...]:
    tensorflow = {k: v for k, v in vars(target.tensorflow).items() if k != "verified"}
    return target.runtime, tensorflow, target.verified


def changed_files(revision: str) -> list[str]:
    """Return the files that differ between a revision and this checkout.

    A moved file gives both its names.

    Raises:
        UsageError: there is no such revision.
    """
    return _git("diff", "--name-only", "--no-renames", "-z", revision).split("\0")[:-1]


def old_matrix(revision: str) -> Matrix | None:
    """Return the matrix of a revision; None if it cannot be read."""
    try:
        name = MATRIX_FILE.relative_to(ROOT).as_posix()
        return parse_matrix(tomllib.loads(_git("show", f"{revision}:{name}")))
    except (UsageError, ValueError):
        return None


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        words = (done.stderr.strip().splitlines() or ["no message"])[0]
        raise UsageError(
            f"git {arguments[0]} failed: {words}", remedy="name a revision that is here"
        )
    return done.stdout
