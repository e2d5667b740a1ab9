"""The cache: downloads, named by checksum, and products of steps, named by their inputs.

A product is made in a temporary folder, which is renamed when the product is complete.
So a killed build leaves no half-made product behind. Each product has a lock, so that
two builds that run at once make each product only once.
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

# The kinds of product whose files are checked before each use: they take minutes to compile, and
# are linked with for months. Each kind has the file that the digest leaves out: a core's record,
# which is written again when the lock of sources changes.
SEALED = {"core": "core.json"}

# Characters that the cache's path may not have: XNNPACK's build files pass paths between CMake
# and a shell without quoting them. A space is fine.
UNQUOTED = frozenset("'\"`$;\\\n")


def default_root() -> Path:
    """Return `$TFLITE_WHEELS_CACHE`, or else a folder below `$XDG_CACHE_HOME` or ~/.cache.

    Raises:
        UsageError: the path has a character that upstream's build files cannot quote.
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
    """Return the name of a product: a digest of everything that can change its bytes.

    Args:
        inputs: data that can be written as JSON.
    """
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_LENGTH]


def digest_files(*paths: Path) -> str:
    """Return a digest of the names and bytes of files, and of all files below folders."""
    digest = hashlib.sha256()
    for path in paths:
        below = (member for member in path.rglob("*") if member.is_file())
        for member in sorted(below) if path.is_dir() else [path]:
            name = member.relative_to(path.parent)
            if "__pycache__" not in name.parts:
                digest.update(f"{name.as_posix()}\0{sha256_of(member)}\n".encode())
    return digest.hexdigest()


def digest_below(folder: Path, *, leave_out: str = "") -> str:
    """Return a digest of the relative names and bytes of a folder's files, and of its links.

    Args:
        leave_out: the relative name of a file that the digest leaves out.
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
    """Return the digest of files of this program, as they were at the first call.

    If a file is edited during a build, the names of that build's products must not change.
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
    """The cache's folder. It may be deleted at any time; the next build then takes longer."""

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
        """The file descriptors of the locks that are held now, for child processes to inherit.

        A flock(2) lock lasts until the last process that holds it ends. If we are killed
        while a compiler still writes into a build folder, the next build waits for it.
        """
        return tuple(self._held)

    def path(self, kind: str, key: str) -> Path:
        """Return the folder of a product, whether the product exists yet or not."""
        return self.root / kind / key

    def has(self, kind: str, key: str) -> bool:
        """True if the product exists; it is then complete."""
        return self.path(kind, key).is_dir()

    def product(self, kind: str, key: str, make: Callable[[Path], None]) -> Path:
        """Return the folder of a product; make the product first if it does not exist.

        Args:
            make: fills the empty folder that it is given. If it raises, the folder is
                deleted.

        Raises:
            ChecksumError: a file of the product has changed since it was first used.
        """
        final = self.path(kind, key)
        if not final.is_dir():
            with self.lock(f"{kind}-{key}"):
                if not final.is_dir():
                    final.parent.mkdir(parents=True, exist_ok=True)
                    temporary = final.with_name(f".{key}.new")
                    # We hold the lock: a folder of this name was left by a killed build.
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
        """Compare a product's files with their digest, which is written at the first use."""
        if (kind, key) in self._checked:
            return
        product, seal = self.path(kind, key), self.root / "seals" / f"{kind}-{key}"
        found = digest_below(product, leave_out=SEALED[kind])
        if not seal.is_file():
            try:
                write_atomically(seal, found.encode())
            except OSError as error:
                # Extensions can be linked with the cores of a read-only cache, too.
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
    def scratch(self, name: str) -> Iterator[Path]:
        """Give an empty folder of that name, and delete it when the block ends.

        Its path is the same each time, since a compiler may write it into its output. The caller
        holds a lock: a folder that is there was left by a killed run.
        """
        folder = self.root / "work" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lock of that name; wait while another process holds it."""
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
                # Closing is not enough: a child that another thread started has the file open, too.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)
