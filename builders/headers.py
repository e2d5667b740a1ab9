"""The headers that an extension is compiled from: Python's, NumPy's and pybind11's.

The target Python is never run. So a target whose Python cannot run here (for another
architecture, or not installed) is built in exactly the same way.
"""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from builders.architecture import ARCHITECTURES
from builders.cache import Cache, digest_files
from builders.errors import HeadersError, UsageError
from builders.fetch import Fetcher, debian_mirrors, verify
from builders.interpreters import find_interpreter
from builders.matrix import Runtime, Target
from builders.process import run
from builders.pyconfig import checked_headers
from builders.sources import Archive
from builders.tables import is_sha256, read_rows
from builders.unpack import unpack
from builders.wheelname import parse_name

LOCK_FILE = Path(__file__).with_name("headers.toml")
DEBIAN_ARCH = {arch: each.debian for arch, each in ARCHITECTURES.items()}
DEBIAN_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# NumPy 2 moved its headers: a NumPy wheel has one of these two folders.
HEADER_FOLDERS = {
    "numpy-1": "numpy/core/include",
    "numpy-2": "numpy/_core/include",
    "pybind11": "pybind11/include",
}


@dataclass(frozen=True)
class PythonHeaders:
    """The headers of one Python.

    Attributes:
        folders: the folders to be searched, in order.
        origin: where the headers come from, as text for people.
    """

    folders: tuple[Path, ...]
    origin: str

    @cached_property
    def digest(self) -> str:
        """The digest of all files in the folders."""
        return digest_files(*self.folders)


def python_headers(
    runtime: Runtime, arch: str, cache: Cache, log: Path, *, offline: bool = False
) -> PythonHeaders:
    """Return the headers of a target's Python: this machine's, or else Debian's.

    If Debian has none, take the headers of this machine's Python, which are for another
    architecture, once a check proves that they are right for the target's.

    Raises:
        HeadersError: none of these headers are available.
    """
    interpreter = find_interpreter(runtime.python)
    own = interpreter if interpreter is not None and interpreter.has_headers else None
    if own is not None and own.arch == arch:
        return PythonHeaders((own.include,), f"Python {own.version} of this machine")
    product = _debian_product(runtime, arch)
    if cache.has(*product) or (_has_debian(runtime) and not offline):
        root = _debian_headers(runtime, arch, cache, log)
        include = root / "usr/include"
        # Debian's pyconfig.h includes <ARCH-linux-gnu/python3.X/pyconfig.h>.
        return PythonHeaders(
            (include / f"python{runtime.python}", include),
            f"Debian {runtime.debian}'s libpython{runtime.python}-dev",
        )
    if own is not None:
        return PythonHeaders(
            (checked_headers(own.include, arch, cache, log),),
            f"Python {own.version} of this machine, checked for {arch}",
        )
    if offline:
        raise HeadersError(
            f"no headers of Python {runtime.python} for {arch} on this machine or in the cache",
            remedy="build once without --offline, or install that Python",
        )
    raise HeadersError(
        f"no headers of Python {runtime.python} for {arch} on this machine",
        remedy=f"install Python {runtime.python} with its headers (pyenv install {runtime.python})",
    )


def _has_debian(runtime: Runtime) -> bool:
    return bool(runtime.debian and debian_mirrors() and shutil.which("dpkg-deb"))


def runs_here(runtime: Runtime, arch: str) -> bool:
    """True if this machine has an interpreter that can run the target's wheel."""
    return arch == platform.machine() and find_interpreter(runtime.python) is not None


def wheel_headers(project: str, target: Target, cache: Cache, fetcher: Fetcher) -> tuple[Path, str]:
    """Return the C headers that a project's wheel carries.

    Args:
        project: `numpy` or `pybind11`.

    Returns:
        The folder of the headers, and the SHA-256 of the wheel.

    Raises:
        UsageError: builders/headers.toml does not lock the wheel.
    """
    archive = locked_wheel(project, target)

    def make(folder: Path) -> None:
        major = "" if project == "pybind11" else "-" + str(parse_name(archive.pypi).version.major)
        path = archive.fetch(fetcher)
        verify(path, archive.sha256, path.name)
        unpack(path, {HEADER_FOLDERS[project + major]: folder})

    return cache.product("headers", archive.sha256[:16], make), archive.sha256


def locked_wheel(project: str, target: Target) -> Archive:
    """Return the locked wheel of a project, with whose headers a target is compiled.

    Raises:
        UsageError: builders/headers.toml does not lock such a wheel.
    """
    runtime = target.runtime
    version = runtime.pybind11 if project == "pybind11" else runtime.numpy.headers
    for row in read_rows(LOCK_FILE, "wheel", "file"):
        file = row.take("file", str)
        sha256 = row.take("sha256", str, is_sha256)
        row.done()
        name = parse_name(file)
        fits = name.interpreter in (runtime.tag, "py3") and name.runs_on(target.arch)
        if (name.project, str(name.version)) == (project, version) and fits:
            return Archive(sha256=sha256, pypi=file)
    raise UsageError(
        f"{LOCK_FILE.name} has no {project} {version} for {target.identifier}",
        remedy="run ./scripts/update",
    )


def _debian_headers(runtime: Runtime, arch: str, cache: Cache, log: Path) -> Path:
    """Fetch and unpack Debian's package; apt, with our own configuration, checks its signatures."""
    package = f"libpython{runtime.python}-dev:{DEBIAN_ARCH[arch]}"

    def make(folder: Path) -> None:
        state = cache.root / "apt" / f"{runtime.debian}-{arch}"
        for name in ("lists/partial", "archives/partial"):
            (state / name).mkdir(parents=True, exist_ok=True)
        (state / "status").touch()
        (state / "sources.list").write_text(
            f"deb [signed-by={DEBIAN_KEYRING}] {debian_mirrors()[0]} {runtime.debian} main\n"
        )
        options = {
            "Dir::State": state,
            "Dir::State::lists": state / "lists",
            "Dir::State::status": state / "status",
            "Dir::Cache": state,
            "Dir::Etc::sourcelist": state / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "APT::Architecture": DEBIAN_ARCH[arch],
            "APT::Sandbox::User": "",
            # A mirror may be frozen at a past day; apt still checks its signature.
            "Acquire::Check-Valid-Until": "false",
        }
        apt = ["apt-get", "-q", *(f"-o{key}={value}" for key, value in options.items())]
        what = f"fetching {package} of Debian {runtime.debian}"

        def tool(*command: str | Path) -> None:
            run(
                command,
                cwd=folder,
                log=log,
                failure=HeadersError,
                what=what,
                keep_open=cache.held_locks,
            )

        # Two Pythons of one suite share its package lists.
        with cache.lock(f"apt-{state.name}"):
            tool(*apt, "update")
            tool(*apt, "download", package)
        for deb in folder.glob("*.deb"):
            tool("dpkg-deb", "-x", deb, folder)
            deb.unlink()
        if not (folder / f"usr/include/python{runtime.python}/Python.h").is_file():
            raise HeadersError(f"{package} of Debian {runtime.debian} has no Python.h")

    return cache.product(*_debian_product(runtime, arch), make)


def _debian_product(runtime: Runtime, arch: str) -> tuple[str, str]:
    """The kind and key of the unpacked package in the cache."""
    return "python-headers", f"{runtime.tag}-{arch}-{runtime.debian}"
