"""Locks the packages of the function for ONNX Runtime.

    python -m smoke_lambda.onnx.lock

Each Python has one lock file, with the hashes of every platform's files. It has the newest ONNX
Runtime that installs on the Linux of that Lambda runtime.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from builders.matrix import Matrix, Runtime, load_matrix
from builders.tables import read_toml
from smoke_lambda.lock import DATA, Lock, compile_lock
from smoke_lambda.lock import HEADER as SMOKE_HEADER

FOLDER = Path(__file__).with_name("requirements")
PACKAGES = Path(__file__).with_name("packages.in")
HEADER = "# Written by `python -m smoke_lambda.onnx.lock`; do not edit.\n"
# uv's names of platforms, by their glibc. Amazon Linux 2 has 2.26; uv has no platform with it.
PLATFORMS = {
    (2, 34): "x86_64-manylinux_2_34",
    (2, 28): "x86_64-manylinux_2_28",
    (2, 17): "x86_64-manylinux_2_17",
}


def onnx_lock(runtime: Runtime) -> Path:
    """Return the path of the lock for a Python."""
    return FOLDER / f"{runtime.python}.txt"


def runtimes(matrix: Matrix) -> Iterator[Runtime]:
    """Yield the released Pythons; ONNX Runtime has no wheels for others."""
    yield from (runtime for runtime in matrix.runtimes if not runtime.upcoming)


def platform_of(runtime: Runtime) -> str:
    """Return uv's newest platform whose glibc is not newer than the runtime's."""
    glibc = tuple(int(part) for part in runtime.glibc.split("."))
    return PLATFORMS[max(each for each in PLATFORMS if each <= glibc)]


def locks(matrix: Matrix) -> Iterator[tuple[Lock, str]]:
    """Yield every lock that must exist, with uv's platform, in the order of the matrix."""
    pillow = read_toml(DATA)["pillow"]
    for runtime in runtimes(matrix):
        requirements = f"{PACKAGES.read_text()}pillow=={pillow[runtime.python]}\n"
        lock = Lock(path=onnx_lock(runtime), python=runtime.python, requirements=requirements)
        yield lock, platform_of(runtime)


def main() -> int:
    """Write every lock, and remove those that the matrix no longer has."""
    wanted = [*locks(load_matrix())]
    for lock, platform in wanted:
        text = compile_lock(lock, platform)
        lock.path.write_text(HEADER + text.removeprefix(SMOKE_HEADER))
    for path in set(FOLDER.glob("*.txt")) - {lock.path for lock, _ in wanted}:
        path.unlink()
    print(f"{len(wanted)} locks written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
