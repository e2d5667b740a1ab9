"""A core as one file, for machines that link with the core instead of compiling it.

The file is a tar archive:

    files.json   the core's key, and the SHA-256 of each of its files
    core/...     the files, as builders/core.py describes them

The file is not compressed. Services that store it compress it themselves. A compressor's
output changes with its version, while the same core must give the same bytes everywhere.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from builders.cache import Cache, digest_below, key_of, sha256_of
from builders.core import Core, core_key, load_core
from builders.errors import ArchiveError, ChecksumError, UsageError
from builders.matrix import Matrix
from builders.sources import is_locked, load_lock
from builders.tables import Row, is_sha256
from builders.toolchain import Toolchain
from builders.unpack import unpack

MANIFEST, FOLDER = "files.json", "core"
DAMAGED = "have it packed again where it was made"


@dataclass(frozen=True, kw_only=True)
class CoreName:
    """The name of a core: its TensorFlow version, architecture and origin."""

    tensorflow: str
    arch: str
    origin: str

    def __str__(self) -> str:
        return f"tf{self.tensorflow}-{self.arch} from {self.origin} sources"


def known_cores(matrix: Matrix, toolchain: Toolchain) -> Iterator[tuple[str, CoreName]]:
    """Yield the key and name of every core that this checkout can make.

    Cores are in the matrix's order; of each, the preferred origin comes first.
    """
    for tensorflow in matrix.tensorflows:
        if is_locked(tensorflow.version):
            lock = load_lock(tensorflow.version)
            for arch in matrix.architectures:
                for origin in lock.origins:
                    key = core_key(tensorflow, arch, lock.sources(origin), toolchain)
                    name = CoreName(tensorflow=tensorflow.version, arch=arch, origin=origin)
                    yield key, name


def pack_core(core: Core, file: Path) -> None:
    """Write a core to a file, atomically; the same core gives the same bytes.

    Args:
        core: a core whose folder is named by its key.
    """
    members = {
        path.relative_to(core.path).as_posix(): path
        for path in sorted(core.path.rglob("*"))
        if path.is_file()
    }
    shas = {name: sha256_of(path) for name, path in members.items()}
    manifest = json.dumps({"key": core.path.name, "files": shas}, indent=1, sort_keys=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT) as tar:
            data = manifest.encode()
            tar.addfile(_header(MANIFEST, len(data)), io.BytesIO(data))
            for name, path in sorted(members.items()):
                with path.open("rb") as content:
                    tar.addfile(_header(f"{FOLDER}/{name}", path.stat().st_size), content)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def digest_of(core: Core) -> str:
    """Return the digest of a core's files, which the one who packs can tell the one who unpacks."""
    return digest_below(core.path)


def unpack_core(
    file: Path, known: Mapping[str, CoreName], cache: Cache, digest: str | None = None
) -> Core:
    """Put a packed core into the cache, if it is complete and one that this checkout would make.

    The file's own record shows that the file is complete, but not who made it: a stranger can
    write a record of any files, and a key covers the inputs of a compiler, not its output.

    Args:
        known: the wanted cores, by key.
        digest: the core's digest, which `core pack` printed; None trusts the file's own record.

    Raises:
        ChecksumError: the files do not have that digest.
        UsageError: there is no such file, or its core is not a wanted one.
        ArchiveError: the file is damaged, or its contents do not match its key.
    """
    if not file.is_file():
        raise UsageError(f"there is no file {file}", remedy="./scripts/core pack makes one")
    with cache.lock("unpack-core"), cache.scratch("unpack-core") as folder:
        key = _unpack_verified(file, folder)
        if key not in known:
            raise UsageError(
                f"{file.name} has the core {key}, which this checkout would not make",
                remedy="pack one from the same sources, patches, flags and tools",
            )

        found = digest_below(folder / FOLDER)
        if digest is not None and found != digest:
            raise ChecksumError(
                f"{file.name} has the digest {found}, expected {digest}",
                remedy="take the file and its digest from the machine that packed it",
            )

        def make(product: Path) -> None:
            for child in sorted((folder / FOLDER).iterdir()):
                child.rename(product / child.name)

        return load_core(cache.product("core", key, make))


def _header(name: str, size: int) -> tarfile.TarInfo:
    """Return a tar header without a time, an owner, or permissions of its own."""
    header = tarfile.TarInfo(name)
    header.size = size
    return header


def _unpack_verified(file: Path, folder: Path) -> str:
    """Unpack a packed core; return its key, which the files and their record confirm."""
    try:
        unpack(file, {"": folder})
    except ArchiveError as error:
        raise ArchiveError(error.what, remedy=DAMAGED) from error
    try:
        manifest = Row(MANIFEST, json.loads((folder / MANIFEST).read_text()))
        key = manifest.take("key", str)
        wanted = manifest.take("files", dict, lambda shas: all(map(is_sha256, shas.values())))
        manifest.done()
        made_of = json.loads((folder / FOLDER / "core.json").read_text())["inputs"]
    except (OSError, ValueError, TypeError, KeyError, UsageError, RecursionError) as error:
        raise ArchiveError(f"{file.name} is no packed core: {error}", remedy=DAMAGED) from error
    found = {
        path.relative_to(folder / FOLDER).as_posix(): sha256_of(path)
        for path in (folder / FOLDER).rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name) != wanted.get(name):
            raise ArchiveError(
                f"{file.name}: {name} is not what was packed: expected sha256 "
                f"{wanted.get(name, 'none')}, found {found.get(name, 'none')}",
                remedy=DAMAGED,
            )
    if key_of(made_of) != key:
        raise ArchiveError(
            f"{file.name} says {key}, but its record is of {key_of(made_of)}", remedy=DAMAGED
        )
    return str(key)
