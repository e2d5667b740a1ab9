"""The cache: downloads by checksum, and the products of steps by their inputs.

A product is made in a temporary folder and renamed into place when it is whole,
under a lock of its own, so that a killed build leaves nothing half-made behind
and two builds at once make each product once.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from builders.errors import ChecksumError, UsageError

CACHE_VARIABLE = "TFLITE_WHEELS_CACHE"
_KEY_LENGTH = 16
NOT_WRITABLE = frozenset((errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR))

# Products that are compiled for minutes and linked for months, with the file that is no part of
# their digest: a core's record follows the lock, and is written anew with it.
SEALED = {"core": "core.json"}

# XNNPACK's hands paths on between CMake and a shell as they are; a space is fine.
UNQUOTED = frozenset("'\"`$;\\\n")


def default_root() -> Path:
    """`$TFLITE_WHEELS_CACHE`, else a folder below `$XDG_CACHE_HOME` or ~/.cache.

    Raises:
        UsageError: upstream's build files cannot quote its path.
    """
    if os.environ.get(CACHE_VARIABLE):
        root = Path(os.environ[CACHE_VARIABLE]).absolute()
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        root = base.absolute() / "tflite-lambda-wheels"
    if special := sorted(UNQUOTED.intersection(str(root))):
        raise UsageError(
            f"the cache's path {str(root)!r} has {' '.join(map(repr, special))} in it, "
            "which upstream's build files cannot quote",
            remedy=f"set {CACHE_VARIABLE} to a folder without",
        )
    return root


def key_of(inputs: object) -> str:
    """The name of a product: a digest of everything that can change its bytes.

    Args:
        inputs: data that JSON can hold.
    """
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_LENGTH]


def digest_files(*paths: Path) -> str:
    """A digest of files, and of all files below folders, by relative name and bytes."""
    digest = hashlib.sha256()
    for path in paths:
        below = (member for member in path.rglob("*") if member.is_file())
        for member in sorted(below) if path.is_dir() else [path]:
            name = member.relative_to(path.parent)
            if "__pycache__" not in name.parts:
                digest.update(f"{name.as_posix()}\0{sha256_of(member)}\n".encode())
    return digest.hexdigest()


def digest_below(folder: Path, *, leave_out: str = "") -> str:
    """A digest of all files below a folder, by relative name and bytes, and of its links.

    Args:
        leave_out: a file that is no part of it.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            digest.update(f"{name}\0-> {path.readlink()}\n".encode())
        elif path.is_file() and name != leave_out:
            digest.update(f"{name}\0{sha256_of(path)}\n".encode())
    return digest.hexdigest()


@functools.cache
def recipe(*paths: Path) -> str:
    """The digest of files that are part of this program, as of the first call.

    A file that is edited while we run must not change the name of what is made.
    """
    return digest_files(*paths)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old bytes or all of the new ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@dataclass
class Cache:
    """A folder that may be deleted at any time, at the cost of time only."""

    root: Path
    on_wait: Callable[[str], None] = lambda _what: None
    _held: list[int] = field(default_factory=list)
    _checked: set[tuple[str, str]] = field(default_factory=set)

    @property
    def downloads(self) -> Path:
        """Downloaded files, each in a folder named by its SHA-256."""
        return self.root / "downloads"

    @property
    def held_locks(self) -> tuple[int, ...]:
        """Descriptors of the locks held now, for the children to inherit.

        A lock of flock(2) lasts until its last holder ends: when we are killed,
        a compiler that still writes into a build folder keeps the next build out.
        """
        return tuple(self._held)

    def path(self, kind: str, key: str) -> Path:
        """Where the product of that kind and key is, or will be."""
        return self.root / kind / key

    def has(self, kind: str, key: str) -> bool:
        """Whether the product is there, whole."""
        return self.path(kind, key).is_dir()

    def product(self, kind: str, key: str, make: Callable[[Path], None]) -> Path:
        """The product, made now if it is not there.

        Args:
            make: fills the empty folder that it is given; whatever it raises
                leaves nothing behind.

        Raises:
            ChecksumError: it is there, and a file of it is not as it was made.
        """
        final = self.path(kind, key)
        if not final.is_dir():
            with self.lock(f"{kind}-{key}"):
                if not final.is_dir():
                    final.parent.mkdir(parents=True, exist_ok=True)
                    temporary = final.with_name(f".{key}.new")
                    # Under the lock, whatever has this name was left by a killed build.
                    shutil.rmtree(temporary, ignore_errors=True)
                    temporary.mkdir()
                    try:
                        make(temporary)
                    except BaseException:
                        shutil.rmtree(temporary, ignore_errors=True)
                        raise
                    temporary.rename(final)
        if kind in SEALED:
            self._check_seal(kind, key)
        return final

    def _check_seal(self, kind: str, key: str) -> None:
        """Compare a product with the digest of its files, which the first use of it writes."""
        if (kind, key) in self._checked:
            return
        product, seal = self.path(kind, key), self.root / "seals" / f"{kind}-{key}"
        found = digest_below(product, leave_out=SEALED[kind])
        if not seal.is_file():
            try:
                write_atomically(seal, found.encode())
            except OSError as error:
                # A cache that is only read has cores to link with all the same.
                if error.errno not in NOT_WRITABLE:
                    raise
        elif (expected := seal.read_text()) != found:
            raise ChecksumError(
                f"the {kind} {key} in the cache is not as it was made: "
                f"expected the digest {expected[:16]}…, found {found[:16]}…",
                remedy=f"delete {product} and {seal}, and run again",
            )
        self._checked.add((kind, key))

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lock of that name; waits for another process that does."""
        path = self.root / "locks" / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            if error.errno not in NOT_WRITABLE:
                raise
            raise UsageError(
                f"the cache {self.root} cannot be written: {error.strerror}",
                remedy=f"set {CACHE_VARIABLE} to a folder that you may write",
            ) from error
        try:
            told = False
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not told:
                        self.on_wait(f"another build is making {name}; waiting for it")
                        told = True
                    time.sleep(0.2)
            self._held.append(descriptor)
            yield
        finally:
            if descriptor in self._held:
                self._held.remove(descriptor)
                # Closing is not enough: a child that another thread started has it too.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)
