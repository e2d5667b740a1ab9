"""Starts a command of this repository in its locked environment.

This module needs nothing but Python. It makes the environment once per requirements file, which has
hashes, in the cache that builders/cache.py describes.
"""

from __future__ import annotations

import hashlib
import os
import platform
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)
TOOLCHAIN_EXIT_CODE = 6

sys.path.insert(0, str(ROOT))


def start(module: str, requirements: str = "builders/requirements.txt") -> None:
    """Run a module as the main program, in the environment of a requirements file."""
    if sys.version_info < OLDEST:
        stop(f"Python {platform.python_version()} is too old", "run with python3.11 or newer")
    python = environment(ROOT / requirements)
    if Path(sys.prefix) != python.parent.parent:
        os.execv(python, [str(python), *sys.argv])
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def environment(requirements: Path) -> Path:
    """Return the Python of the environment; make the environment if it is missing."""
    from builders.cache import Cache, default_root
    from builders.errors import UserError

    try:
        root = default_root()
    except UserError as error:
        stop(error.what, error.remedy, error.exit_code)
    identity = f"{sys.version}{platform.machine()}".encode() + requirements.read_bytes()
    name = hashlib.sha256(identity).hexdigest()[:16]
    cache = Cache(root, on_wait=lambda line: print(line, file=sys.stderr))
    folder = cache.root / "environments" / name
    complete = folder / "complete"
    if not complete.exists():
        with cache.lock(f"environment-{name}"):
            if not complete.exists():
                install(requirements, folder)
                complete.touch()
    return folder / "bin" / "python"


def install(requirements: Path, folder: Path) -> None:
    """Make the environment; first remove the remains of a killed run."""
    shutil.rmtree(folder, ignore_errors=True)
    made = subprocess.run(
        [sys.executable, "-m", "venv", folder], capture_output=True, text=True, check=False
    )
    if made.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        stop("this Python has no venv module", "install it (Debian: apt install python3-venv)")
    command: list[str | Path] = [
        folder / "bin/python",
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
    ]
    command += ["--require-hashes", "--only-binary", ":all:", "-r", requirements]
    total = requirements.read_text().count("==")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pip:
        assert pip.stdout is not None
        lines = []
        for line in pip.stdout:
            lines.append(line)
            if line.startswith("Collecting "):
                done = sum(other.startswith("Collecting ") for other in lines)
                tell(f"installing the locked environment, once: {done}/{total}")
            elif line.startswith("Installing collected"):
                tell("installing the locked environment, once: unpacking")
    print(file=sys.stderr)
    if pip.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        errors = [line.strip() for line in lines if line.startswith("ERROR")] or lines[-1:]
        stop(f"pip failed: {' '.join(errors)}", "check the network and pip's configuration")


def tell(text: str) -> None:
    """Show progress: on one line if there is a terminal, else only the first and last steps."""
    if sys.stderr.isatty():
        print(f"\r{text}", end="", file=sys.stderr, flush=True)
    elif text.endswith(("1/" + text.rsplit("/", 1)[-1], "unpacking")):
        print(text, file=sys.stderr)


def stop(what: str, remedy: str, exit_code: int = TOOLCHAIN_EXIT_CODE) -> NoReturn:
    """Print the error and its remedy in one line, and exit."""
    print(f"error: {what}; {remedy}", file=sys.stderr)
    sys.exit(exit_code)
