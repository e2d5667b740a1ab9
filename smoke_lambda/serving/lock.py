"""Locks the packages of the model server and the gateway.

    python -m smoke_lambda.serving.lock

Each Python has one lock file, with the hashes of every platform's files.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from builders.matrix import Matrix, Runtime, load_matrix
from smoke_lambda import lock
from smoke_lambda.lock import Lock, compile_lock, lock_path, packages_of

FOLDER = Path(__file__).with_name("requirements")
PACKAGES = FOLDER / "packages.in"
OLDEST = (3, 11)
HEADER = "# Written by `python -m smoke_lambda.serving.lock`; do not edit.\n"


def serving_lock(runtime: Runtime) -> Path:
    """Return the path of the lock for a Python."""
    return FOLDER / f"{runtime.tag}.txt"


def runtimes(matrix: Matrix) -> Iterator[Runtime]:
    """Yield the released Pythons that can run the server's code."""
    for runtime in matrix.runtimes:
        version = tuple(int(part) for part in runtime.python.split("."))
        if version >= OLDEST and not runtime.upcoming:
            yield runtime


def locks(matrix: Matrix) -> Iterator[Lock]:
    """Yield every lock that must exist, in the order of the matrix."""
    for runtime in runtimes(matrix):
        smoked = packages_of(lock_path(runtime, runtime.numpy.smoke_versions[-1]))
        pins = [smoked[name].split()[0] for name in lock.FUNCTION_PACKAGES]
        yield Lock(
            path=serving_lock(runtime),
            python=runtime.python,
            requirements="\n".join([PACKAGES.read_text(), *pins, ""]),
        )


def main() -> int:
    """Write every lock, and remove those that the matrix no longer has."""
    wanted = list(locks(load_matrix()))
    for item in wanted:
        item.path.write_text(HEADER + compile_lock(item).removeprefix(lock.HEADER))
    for path in set(FOLDER.glob("*.txt")) - {item.path for item in wanted}:
        path.unlink()
    print(f"{len(wanted)} locks written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
