"""The CPython interpreters of this machine."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

_ASK = """
import json, platform, sys, sysconfig
print(json.dumps({
    "executable": sys.executable,
    "version": platform.python_version(),
    "implementation": platform.python_implementation(),
    "arch": platform.machine(),
    "include": sysconfig.get_path("include"),
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
}))
"""


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """A CPython that runs here."""

    executable: Path
    version: str
    arch: str
    include: Path

    @property
    def prefix(self) -> Path:
        """The folder of the installation, even if the program is in a virtual environment."""
        return self.include.parent.parent

    @property
    def has_headers(self) -> bool:
        """True if the interpreter has the headers for compiling extensions."""
        return (self.include / "Python.h").is_file()


@functools.cache
def find_interpreter(python: str) -> Interpreter | None:
    """Return the interpreter of a Python such as `3.12`; None if there is none.

    The interpreter is looked for on PATH, then where pyenv, uv and AWS's base images keep
    theirs. One with headers wins over one without; then the newest patch release wins.
    """
    found = [i for path in _candidates(python) if (i := _ask(path, python)) is not None]
    return max(
        found,
        # A Python built from a Git checkout has a version such as `3.13.0+`.
        key=lambda i: (i.has_headers, Version(i.version.rstrip("+"))),
        default=None,
    )


def _candidates(python: str) -> Iterator[Path]:
    name = f"python{python}"
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    folders += sorted(pyenv.glob(f"versions/{python}.*/bin"))
    folders += sorted(Path.home().glob(f".local/share/uv/python/cpython-{python}.*/bin"))
    folders += [Path("/var/lang/bin"), Path("/usr/local/bin"), Path("/usr/bin")]
    seen = set()
    for folder in folders:
        path = folder / name
        # In a folder that we may not enter, is_file() would raise; access(2) says no first.
        if os.access(path, os.X_OK) and path.is_file() and path.resolve() not in seen:
            seen.add(path.resolve())
            yield path


def _ask(path: Path, python: str) -> Interpreter | None:
    """Ask a program what it is; return None if it is not that CPython (such as a pyenv shim)."""
    try:
        answer = subprocess.run(
            [path, "-I", "-c", _ASK], capture_output=True, text=True, check=True, timeout=20
        ).stdout
        said = json.loads(answer)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if said["implementation"] != "CPython" or said["free_threaded"]:
        return None
    if not said["version"].startswith(f"{python}."):
        return None
    return Interpreter(
        executable=Path(said["executable"]),
        version=said["version"],
        arch=said["arch"],
        include=Path(said["include"]),
    )
