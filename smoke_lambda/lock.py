"""Lock the environments that smoke-test wheels, and those that train and convert models.

    python -m smoke_lambda.lock

There is one lock per Python and NumPy of builders/matrix.toml. It has the hashes of every
platform's files, so that one lock serves both architectures.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from builders.errors import UserError
from builders.matrix import Matrix, Runtime, load_matrix
from builders.tables import read_toml

FOLDER = Path(__file__).with_name("requirements")
DATA = FOLDER / "runtime.toml"
TRAIN = FOLDER / "train.in"
CONVERT = FOLDER / "convert.in"
TRAIN_PYTHON = "3.11"

# This is newer than Amazon Linux 2. The newest NumPy that a wheel's metadata admits may not
# install on the wheel's own runtime, but it is smoke-tested all the same.
PLATFORM = "x86_64-manylinux_2_28"

FUNCTION_PACKAGES = ("numpy", "pillow")
"""The packages that a function needs in an image. The image itself has Lambda's client."""

HEADER = "# Written by `python -m smoke_lambda.lock`; do not edit.\n"


@dataclass(frozen=True, kw_only=True)
class Lock:
    """One file of hash-locked requirements."""

    path: Path
    python: str
    requirements: str


def lock_path(runtime: Runtime, numpy: str) -> Path:
    """Return the path of the lock for a runtime's environment with one NumPy version."""
    return FOLDER / f"{runtime.tag}-numpy-{numpy}.txt"


def packages_of(lock: Path) -> dict[str, str]:
    """Return the text of each package in a lock, by name: its pin and its hashes."""
    found: dict[str, str] = {}
    name = ""
    for line in lock.read_text().splitlines(keepends=True):
        if not line.startswith((" ", "#", "\n")):
            name = line.partition("==")[0]
        if not line.startswith("#"):
            found[name] = found.get(name, "") + line
    return found


def locks(matrix: Matrix) -> Iterator[Lock]:
    """Yield every lock that must exist, in the order of the matrix.

    Raises:
        KeyError: runtime.toml lacks one of the matrix's Pythons.
    """
    packages = read_toml(DATA)
    for runtime in matrix.runtimes:
        for numpy in runtime.numpy.smoke_versions:
            versions = {"numpy": numpy} | {
                name: by_python[runtime.python] for name, by_python in packages.items()
            }
            yield Lock(
                path=lock_path(runtime, numpy),
                python=runtime.python,
                requirements="".join(f"{name}=={v}\n" for name, v in versions.items()),
            )
    for source in (TRAIN, CONVERT):
        yield Lock(
            path=source.with_suffix(".txt"),
            python=TRAIN_PYTHON,
            requirements=source.read_text(),
        )


def locked(lock: Path, project: str) -> str:
    """Return the lines of one package in a lock: `name==version` and its hashes.

    Raises:
        KeyError: the lock does not have the package.
    """
    found = re.search(rf"^{re.escape(project)}==.*(\n +--hash=.*)+", lock.read_text(), re.MULTILINE)
    if found is None:
        raise KeyError(f"{lock.name} has no {project}")
    return found[0] + "\n"


def compile_lock(lock: Lock, platform: str = PLATFORM) -> str:
    """Return the text of a lock: every package with its hashes, without the host they come from.

    Args:
        platform: uv's name of the Linux on which the packages must install.

    Raises:
        UserError: uv does not find the packages, or there is no network.
    """
    command = [
        find_uv_bin(),
        *("pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate"),
        *("--no-emit-index-url", "--no-emit-find-links", "--only-binary", ":all:"),
        *("--python-version", lock.python),
        *("--python-platform", platform),
        "-",
    ]
    done = subprocess.run(command, input=lock.requirements, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{lock.path.name} cannot be locked: {done.stderr.strip()}")
    return HEADER + done.stdout


def main() -> int:
    """Write every lock, and remove those that the matrix no longer has."""
    wanted = list(locks(load_matrix()))
    for lock in wanted:
        lock.path.write_text(compile_lock(lock))
    for path in set(FOLDER.glob("*.txt")) - {lock.path for lock in wanted}:
        path.unlink()
    print(f"{len(wanted)} locks written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
