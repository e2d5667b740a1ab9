"""Describe the state of this repository at the time of a build, for the wheel's provenance."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from builders.cache import sha256_of
from builders.headers import LOCK_FILE
from builders.matrix import MATRIX_FILE, TensorFlow
from builders.sources import SOURCES

ROOT = Path(__file__).parents[2]
# The folder that makes a wheel's bytes; all other files only test, publish or explain.
BUILDERS = ROOT / "builders"


def source_state(tensorflow: TensorFlow, root: Path = ROOT) -> dict[str, Any]:
    """Return the state of the files from which a wheel is built.

    Returns:
        `commit`: the git commit; None if this is not a clone of the repository.
        `modified`: True if builders/ differs from the commit; None if that is not known.
        `files`: the SHA-256, by path, of the files that name all inputs.
    """
    commit = ask_git(root, "rev-parse", "HEAD")
    changes = ask_git(root, "status", "--porcelain", "--", BUILDERS.name) if commit else None
    locks = (MATRIX_FILE, BUILDERS / "requirements.txt", LOCK_FILE)
    files = (*locks, SOURCES / f"{tensorflow.version}.toml")
    return {
        "commit": commit,
        "modified": None if changes is None else bool(changes),
        "files": {path.relative_to(ROOT).as_posix(): sha256_of(path) for path in files},
    }


def ask_git(root: Path, *arguments: str) -> str | None:
    """Return git's output; None if git is missing or fails, or `root` is not a repository."""
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), *arguments]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
