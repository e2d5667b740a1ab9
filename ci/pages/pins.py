"""Writes the files of pins: versions that people ask for, resolved once and locked by hash.

From the *.in files and matrix.toml it makes the files that machines check: the hash-locked
requirements, the wheels whose headers extensions are compiled with, and the emulator of Lambda's
runtime.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from builders.architecture import ARCHITECTURES
from builders.cache import sha256_of, write_atomically
from builders.errors import FetchError
from builders.headers import LOCK_FILE
from builders.matrix import Matrix
from builders.tables import read_toml
from builders.wheelname import parse_name

ROOT = Path(__file__).parents[2]
REQUIREMENTS = tuple(
    ROOT / folder / "requirements.in"
    for folder in ("builders", "ci/publish", "ci/remote", "tests", "tests/clients")
)
GENERATED = "# Written by ./scripts/update; not to be edited.\n"
EMULATOR = ROOT / "smoke_lambda" / "rie.toml"
EMULATOR_WORDS = """\
# The Lambda Runtime Interface Emulator, as a package of the AWS SAM CLI carries it.
"""
# The oldest Python that the scripts support.
DRIVER_PYTHON = "3.11"
# Requirements for another Python than the scripts': the oldest that they support.
OTHER_PYTHON = {ROOT / "ci/remote/requirements.in": "3.13"}


def lock_requirements(source: Path) -> None:
    """Pin a requirements.in in requirements.txt, with all dependencies and hashes.

    Raises:
        FetchError: uv cannot resolve the requirements; the message has uv's last line. The file
            stays as it is.
    """
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal"]
    command += ["--generate-hashes", "--upgrade", "--no-header", "--no-emit-index-url"]
    command += ["--no-annotate", "--python-version", OTHER_PYTHON.get(source, DRIVER_PYTHON)]
    command += [source.name]
    done = subprocess.run(command, cwd=source.parent, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise FetchError(
            f"uv cannot lock {source.relative_to(ROOT)}: {said[-1].strip()}",
            remedy="check the network and what the file asks for",
        )
    write_atomically(source.with_suffix(".txt"), GENERATED.encode() + done.stdout)


def write_headers_lock(matrix: Matrix) -> None:
    """Pin the wheels of NumPy and pybind11 whose headers the matrix names.

    Raises:
        FetchError: a wheel cannot be downloaded. The file stays as it is.
    """
    lines = [GENERATED]
    for requirement, options in _header_wheels(matrix):
        with _downloaded(requirement, *options) as wheel:
            lines.append(f'[[wheel]]\nfile = "{wheel.name}"\nsha256 = "{sha256_of(wheel)}"\n')
    write_atomically(LOCK_FILE, "\n".join(lines).encode())


def write_emulator_lock(path: Path = EMULATOR) -> None:
    """Pin the newest AWS SAM CLI, and the emulators of Lambda's runtime in it.

    Raises:
        FetchError: the CLI cannot be downloaded, or lacks an emulator. The file stays as it is.
    """
    old = read_toml(path)
    project = old["project"]
    with _downloaded(project) as wheel, zipfile.ZipFile(wheel) as members:
        lines = [GENERATED + EMULATOR_WORDS, f'project = "{project}"']
        lines += [f'version = "{parse_name(wheel.name).version}"', f'file = "{wheel.name}"']
        lines += [f'sha256 = "{sha256_of(wheel)}"']
        for arch in ARCHITECTURES:
            member = old[arch]["member"]
            try:
                content = members.read(member)
            except KeyError:
                raise FetchError(
                    f"{wheel.name} has no {member}", remedy=f"look where it is now; see {path.name}"
                ) from None
            digest = hashlib.sha256(content).hexdigest()
            lines += [f'\n[{arch}]\nmember = "{member}"\nsha256 = "{digest}"']
    write_atomically(path, ("\n".join(lines) + "\n").encode())


@contextmanager
def _downloaded(requirement: str, *options: str) -> Iterator[Path]:
    """Give the wheel that pip chooses for a requirement; it is deleted when the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *options]
        command += ["--only-binary", ":all:", "--dest", folder, requirement]
        if subprocess.run(command, check=False).returncode:
            raise FetchError(f"pip cannot download {' '.join([requirement, *options])}")
        (wheel,) = Path(folder).iterdir()
        yield wheel


def _header_wheels(matrix: Matrix) -> Iterator[tuple[str, list[str]]]:
    for version in dict.fromkeys(runtime.pybind11 for runtime in matrix.runtimes):
        yield f"pybind11=={version}", []
    for runtime in matrix.runtimes:
        for arch in matrix.architectures:
            options = ["--implementation", "cp", "--python-version", runtime.python]
            for platform in ("manylinux2014", "manylinux_2_17", "manylinux_2_27", "manylinux_2_28"):
                options += ["--platform", f"{platform}_{arch}"]
            yield f"numpy=={runtime.numpy.headers}", options
