"""What a change calls for: the targets that a pull request has to build."""

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
    """Those of the targets that the change of files calls for, in their order.

    Args:
        before: the matrix as it was, where it is known.
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
    """The first and the last of each TensorFlow and architecture: the matrix goes by age."""
    groups: dict[tuple[str, str], list[Target]] = {}
    for target in targets:
        groups.setdefault((target.tensorflow.version, target.arch), []).append(target)
    return [target for group in groups.values() for target in (group[0], group[-1])]


def _differs(target: Target, before: Matrix) -> bool:
    """True if a target is new, or anything in its rows is.

    That another target of the row became verified is no change of this one.
    """
    for old in before.targets():
        if old.identifier == target.identifier:
            return _rows(old) != _rows(target)
    return True


def _rows(target: Target) -> tuple[object, ...]:
    tensorflow = {k: v for k, v in vars(target.tensorflow).items() if k != "verified"}
    return target.runtime, tensorflow, target.verified


def changed_files(revision: str) -> list[str]:
    """The files that differ between a revision and this checkout, both names of a moved one.

    Raises:
        UsageError: there is no such revision.
    """
    return _git("diff", "--name-only", "--no-renames", "-z", revision).split("\0")[:-1]


def old_matrix(revision: str) -> Matrix | None:
    """The matrix as it was; None if we cannot read what it was then."""
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
