"""The shelf: a folder with every download of a build, for builds without a network.

    shelf/<sha256>/<file>    sources, and the wheels whose headers extensions need
    shelf/wheels/            the packages of builders/requirements.txt, for pip

When an image is built offline, the shelf is mounted in it (see builders/Dockerfile).
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from builders.errors import FetchError
from builders.excerpt import Fetched
from builders.process import run

WHEELS = "wheels"
# The platforms for which the packages of requirements.txt have wheels.
PLATFORMS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014", "manylinux_2_12", "manylinux1")


def put(downloads: Iterable[Fetched], shelf: Path) -> None:
    """Put downloads on the shelf: as links if it is on the cache's file system, else as copies."""
    for sha256, source in dict.fromkeys(file for fetched in downloads for file in fetched.files):
        target = shelf / sha256 / source.name
        if target.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:
            temporary = target.with_name(f".{target.name}.new")
            shutil.copyfile(source, temporary)
            temporary.replace(target)


def put_packages(requirements: Path, python: str, arch: str, shelf: Path, log: Path) -> None:
    """Put the packages of a requirements file with hashes on the shelf.

    Args:
        python: the Python that will install them, as X.Y.
        arch: the architecture that this Python runs on.

    Raises:
        FetchError: pip cannot download one.
    """
    command: list[str | Path] = [sys.executable, "-m", "pip", "download", "--require-hashes"]
    command += ["--only-binary", ":all:", "--python-version", python, "--dest", shelf / WHEELS]
    command += [part for name in PLATFORMS for part in ("--platform", f"{name}_{arch}")]
    what = f"downloading the packages for Python {python}"
    run([*command, "-r", requirements], log=log, failure=FetchError, what=what)
