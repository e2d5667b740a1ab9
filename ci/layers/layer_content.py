"""The content of a layer: wheels as pip installs them, without files that no function uses."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import sys
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from builders.audit.wheelfile import read_archive
from builders.audit.zip_layout import DamagedWheelError
from builders.cache import Cache, key_of
from builders.errors import ArchiveError, FetchError
from builders.matrix import Runtime
from builders.process import run
from builders.wheelname import LEGACY_PLATFORMS
from smoke_lambda.lock import lock_path, locked

# Patterns of fnmatch(3), in which `*` also matches `/`. Modules that other packages import stay,
# even unlikely ones: SciPy imports numpy.testing.
STRIPPED = (
    "*/tests/*",
    "*/_examples/*",
    "*/__pycache__/*",
    "*/conftest.py",
    "*.pyi",
    "*/py.typed",
    # Files to compile against: headers, Cython's declarations, static libraries.
    "*/include/*",
    "*.h",
    "*.pxd",
    "*.a",
    "*/pkgconfig/*",
    "*/npy-pkg-config/*",
    # NumPy's own tools: they build extensions and packages, and document themselves.
    "numpy/distutils/*",
    "numpy/f2py/*",
    "numpy/_pyinstaller/*",
    "numpy/doc/*",
    "numpy/setup.py",
    "numpy/*/setup.py",
    # Extensions that only NumPy's tests load; _simd contains all of its vector functions.
    "numpy/*/_simd.*.so",
    "numpy/*/_*_tests.*.so",
    "numpy/core/umath_tests.py",
)
KEPT = (
    "*.dist-info/*",
    "*/LICEN[CS]E*",
    "*/COPYING*",
    # NumPy 1.24 itself imports this extension, to document it.
    "numpy/*/_multiarray_tests.*.so",
    # numpy.testing of NumPy 2.2 imports these.
    "numpy/_core/tests/__init__.py",
    "numpy/_core/tests/_natype.py",
)


# The stand-in for a module that is left out. NumPy 2 imports numpy.f2py on `from numpy import *`,
# which must not fail.
LEFT_OUT = """\
\"\"\"Left out of this layer: it compiles Fortran, which no function does.\"\"\"


def __getattr__(name):
    raise AttributeError("{module} is not in this layer, nor is {module}." + name)
"""
STAND_INS = {"numpy/f2py/__init__.py": LEFT_OUT.format(module="numpy.f2py").encode()}


def site_packages(wheels: Iterable[Path]) -> dict[str, bytes]:
    """Return the stripped files that wheels install, by their paths in site-packages.

    Raises:
        ArchiveError: a wheel is damaged, or has files for another place than site-packages.
    """
    files: dict[str, bytes] = {}
    for wheel in wheels:
        files |= _installed(wheel)
    return files


def is_needed(path: str) -> bool:
    """True if a layer keeps a file of a wheel: a function or a licence needs it."""
    if any(fnmatch(path, pattern) for pattern in KEPT):
        return True
    return not any(fnmatch(path, pattern) for pattern in STRIPPED)


def _installed(wheel: Path) -> dict[str, bytes]:
    try:
        archive = read_archive(wheel)
    except DamagedWheelError as error:
        raise ArchiveError(
            f"{wheel.name} is damaged: {error}", remedy=f"delete {wheel} and run again"
        ) from error
    files = {
        path: data
        for path, data in archive.contents.items()
        if not path.endswith("/") and is_needed(path)
    }
    files |= {path: data for path, data in STAND_INS.items() if path in archive.contents}
    if elsewhere := [path for path in files if PurePosixPath(path).parts[0].endswith(".data")]:
        raise ArchiveError(f"{wheel.name} installs {elsewhere[0]}, which a layer has no place for")
    record = f"{archive.dist_info}/RECORD"
    if record in files:
        files[record] = _record_of(files[record], files)
    return files


def _record_of(record: bytes, files: Mapping[str, bytes]) -> bytes:
    """Return a RECORD with the rows of the files that a layer has; a stand-in gets a new row."""
    rows = [row for row in csv.reader(io.StringIO(record.decode())) if row and row[0] in files]
    rows = [record_row(row[0], files[row[0]]) if row[0] in STAND_INS else row for row in rows]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def record_row(path: str, data: bytes) -> list[str]:
    """Return a file's row of a RECORD (the binary distribution format: sha256, base64, size)."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return [path, f"sha256={digest}", str(len(data))]


def locked_wheel(project: str, runtime: Runtime, arch: str, cache: Cache, log: Path) -> Path:
    """Return the wheel of the smoke test's NumPy or Pillow for a Lambda runtime.

    It is the newest wheel that the runtime's glibc accepts. On any machine, pip downloads it
    for the runtime's Python and the architecture, and checks it against the lock's hashes.

    Raises:
        FetchError: pip cannot download it.
    """
    requirement = locked(lock_path(runtime, runtime.numpy.on_lambda), project)
    options = ["--implementation", "cp", "--python-version", runtime.python]
    for platform in platforms(runtime, arch):
        options += ["--platform", platform]
    pinned = requirement.split(maxsplit=1)[0]

    def make(folder: Path) -> None:
        requirements = folder / "requirements.txt"
        requirements.write_text(requirement)
        command: list[str | Path] = [sys.executable, "-m", "pip", "download", "--no-deps"]
        command += ["--disable-pip-version-check", "--only-binary", ":all:", *options]
        command += ["--require-hashes", "-r", requirements, "--dest", folder]
        errors: list[str] = []

        def note(line: str) -> None:
            if line.startswith("ERROR: "):
                errors.append(line.removeprefix("ERROR: "))

        what = f"downloading {pinned} for {runtime.name} on {arch}"
        try:
            run(
                command,
                log=log,
                failure=FetchError,
                what=what,
                on_line=note,
                keep_open=cache.held_locks,
            )
        except FetchError as error:
            raise FetchError(
                f"{what} failed: {errors[-1] if errors else 'pip does not say why'}",
                remedy=f"check the network and pip's configuration; its log is {log}",
            ) from error

    folder = cache.product("layer-wheels", key_of([requirement, options]), make)
    (wheel,) = folder.glob("*.whl")
    return wheel


def platforms(runtime: Runtime, arch: str) -> list[str]:
    """Return the platform tags that a runtime's glibc accepts, newest first (PEP 600)."""
    newest = int(runtime.glibc.removeprefix("2."))
    dated = {(2, minor): f"manylinux_2_{minor}" for minor in range(5, newest + 1)}
    names = [
        *((glibc, name) for glibc, name in dated.items()),
        *((glibc, name) for name, glibc in LEGACY_PLATFORMS.items()),
    ]
    return [f"{name}_{arch}" for _, name in sorted(names, reverse=True)]
