"""Unpack the wanted folders of an archive, and nothing outside their destination.

Only regular files, folders and links that stay inside are written. A device file, an
absolute name, a `..` or a member whose path leads through a link is an error. We check
this ourselves because Debian 12's Python has no tarfile.data_filter (PEP 706).
"""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Self, cast

from builders.errors import ArchiveError, printable

# How many bytes a packed byte may unpack to. Source text gives 4 to 25; an xz bomb gives 7,000, a
# gzip bomb 1,000. A small archive may give more, as with one file of a megabyte of zeros: so any
# archive may unpack to the floor.
MOST_EXPANSION = 100
UNPACKED_FLOOR = 64_000_000
# Headers of other kinds than files hold one or more names; tarfile reads them into memory.
MOST_HEADER_BYTES = 1_000_000
MOST_READS_BEYOND_END = 100
# Errors when the system refuses a path: too long, too many links, bytes that are no name.
NO_PATH = (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.EILSEQ)
# The first bytes of a compressed file, and its decompressor.
COMPRESSIONS: tuple[tuple[bytes, Callable[[IO[bytes]], object]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\0", lzma.open),
)


class UnsafeMemberError(Exception):
    """A member that must not be written."""


DAMAGED = (
    UnsafeMemberError,
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    # The archive is encrypted, or has an unknown compression.
    RuntimeError,
    # A name or a number is invalid.
    ValueError,
    LookupError,
    OverflowError,
    struct.error,
    # Headers announce further headers without end.
    RecursionError,
    # The same name is a file and a folder.
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
)


def unpack(
    archive: Path,
    folders: Mapping[str, Path],
    progress: Callable[[int, int | None], None] = lambda _done, _total: None,
) -> None:
    """Unpack folders of a tar archive (any compression) or a zip (a wheel, too).

    Files that were written before an error stay: unpack into a folder that is deleted then.

    Args:
        folders: where the contents of each folder go, by the folder's name in the archive
            (empty for the whole archive). No folder may be inside another.
        progress: called with the bytes of the archive read so far, and the archive's size.

    Raises:
        ArchiveError: the archive is damaged, unsafe, or lacks a folder.
    """
    total = archive.stat().st_size
    with _checked(archive.name, f"delete {archive.parent} and run again", total, folders) as output:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, output)
        else:
            with archive.open("rb") as raw:
                counted = cast(IO[bytes], Counted(raw, lambda done: progress(done, total)))
                with _decompressed(counted, raw.peek(6)) as stream:
                    _unpack_tar(stream, output)
        progress(total, total)


def unpack_stream(stream: IO[bytes], name: str, packed: int, folders: Mapping[str, Path]) -> None:
    """Unpack folders of a tar archive that is not compressed, read once from front to back.

    Args:
        name: the archive's name, for messages.
        packed: the size in bytes that the stream had when packed; it bounds the unpacked size.
        folders: as for `unpack`.

    Raises:
        ArchiveError: as for `unpack`.
    """
    remedy = "the lock may name other bytes of it; ./scripts/lock writes them"
    with _checked(name, remedy, packed, folders) as output:
        _unpack_tar(stream, output)


@contextmanager
def _checked(name: str, remedy: str, packed: int, folders: Mapping[str, Path]) -> Iterator[_Output]:
    """Yield the bounded output of an archive; raise any fault of it as an ArchiveError."""
    output = _Output(folders, max(UNPACKED_FLOOR, MOST_EXPANSION * packed))
    try:
        yield output
    except (*DAMAGED, OSError) as error:
        # The system's errors have a number; bz2's has none.
        known = isinstance(error, DAMAGED) or error.errno in (None, *NO_PATH)
        if not known:
            raise
        what = f"{name} is damaged or unsafe: {printable(str(error))}"
        raise ArchiveError(what, remedy=remedy) from error
    for folder in sorted(folders.keys() - output.found):
        raise ArchiveError(f"{name} has no folder {folder!r}")


def _decompressed(file: IO[bytes], start: bytes) -> AbstractContextManager[IO[bytes]]:
    """Return a file as it is, or decompressed, by its first bytes.

    tarfile could decompress, but fails with errors of any type at a damaged gzip header.
    """
    for magic, opened in COMPRESSIONS:
        if start.startswith(magic):
            return cast(AbstractContextManager[IO[bytes]], opened(file))
    return nullcontext(file)


def _unpack_tar(stream: IO[bytes], output: _Output) -> None:
    # Read the stream once, from front to back: seeking in a compressed stream would
    # decompress it again.
    ending = cast(IO[bytes], Ending(stream))
    with tarfile.open(fileobj=ending, mode="r|", tarinfo=_Header) as tar:
        for member in tar:
            output.count(member.size)
            if member.issparse():
                raise UnsafeMemberError(f"{member.name!r} is a file with holes")
            for place in output.places(member.name):
                if member.isreg():
                    place.write(cast(IO[bytes], tar.extractfile(member)), member.mode)
                elif member.isdir():
                    place.path.mkdir(parents=True, exist_ok=True)
                elif member.issym():
                    place.link(member.linkname)
                elif member.islnk():
                    place.copy(member.linkname)
                else:
                    raise UnsafeMemberError(f"{member.name!r} is no file, folder or link")


def _unpack_zip(archive: Path, output: _Output) -> None:
    with zipfile.ZipFile(archive) as wheel:
        for info in wheel.infolist():
            mode = info.external_attr >> 16
            output.count(info.file_size)
            for place in output.places(info.filename):
                if info.is_dir():
                    place.path.mkdir(parents=True, exist_ok=True)
                elif stat.S_ISLNK(mode):
                    place.link(wheel.read(info).decode())
                elif stat.S_IFMT(mode) in (0, stat.S_IFREG):
                    with wheel.open(info) as data:
                        place.write(data, mode)
                else:
                    raise UnsafeMemberError(f"{info.filename!r} is no file, folder or link")


@dataclass
class _Output:
    """The wanted folders, those found in the archive, and the most bytes that it may unpack to."""

    folders: Mapping[str, Path]
    most: int
    counted: int = 0
    found: set[str] = field(default_factory=set)

    def count(self, size: int) -> None:
        """Count a member before it is read; unwanted members count, too: they are decompressed."""
        self.counted += size + tarfile.BLOCKSIZE
        if self.counted > self.most:
            raise UnsafeMemberError(f"it unpacks to more than {self.most:,} bytes")

    def places(self, member: str) -> Iterator[_Place]:
        """Yield the places where a member is to be written; none if it is in no wanted folder."""
        for folder, root in self.folders.items():
            name = below(folder, member)
            if name is not None:
                self.found.add(folder)
                yield _Place(folder, root, name)


@dataclass(frozen=True)
class _Place:
    """Where one member is written: inside the root, and not through a link."""

    folder: str
    root: Path
    name: str

    def __post_init__(self) -> None:
        pure = PurePosixPath(self.name)
        if pure.is_absolute() or ".." in pure.parts:
            raise UnsafeMemberError(f"{self.name!r} would be outside its folder")
        if any((self.root / parent).is_symlink() for parent in pure.parents[:-1]):
            raise UnsafeMemberError(f"{self.name!r} is behind a link")

    @property
    def path(self) -> Path:
        return self.root / self.name

    def write(self, data: IO[bytes], mode: int) -> None:
        self._clear()
        with self.path.open("xb") as file:
            shutil.copyfileobj(data, file)
        if mode & stat.S_IXUSR:
            self.path.chmod(0o755)

    def link(self, to: str) -> None:
        """Write a symbolic link that climbs within the root, then only descends.

        No member is written through a link. So the folders that the link climbs are real,
        and nothing needs to be resolved.
        """
        parts = PurePosixPath(to).parts
        climbs = next((i for i, part in enumerate(parts) if part != ".."), len(parts))
        depth = len(PurePosixPath(self.name).parts) - 1
        if not parts or to.startswith("/") or climbs > depth or ".." in parts[climbs:]:
            raise UnsafeMemberError(f"{self.name!r} links to {to!r}, outside its folder")
        self._clear()
        # Write the parts that were checked, and not the link's own spelling.
        self.path.symlink_to("/".join(parts))

    def copy(self, member: str) -> None:
        """Write a hard link as a separate file: patching one file must not change the other."""
        name = below(self.folder, member)
        source = None if name is None else _Place(self.folder, self.root, name).path
        if source is None or not source.is_file():
            raise UnsafeMemberError(f"{self.name!r} is linked to {member!r}, which is not there")
        if source != self.path:
            self._clear()
            shutil.copy(source, self.path)

    def _clear(self) -> None:
        """Remove an earlier member of the same name: the last one counts."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)


def below(folder: str, member: str) -> str | None:
    """Return a member's name below a folder; None if the member is not in the folder."""
    name = member.removeprefix("./")
    if not folder:
        return name
    below = name.removeprefix(folder + "/")
    return below if below and below != name else None


# Types whose data is a header of the next member (tarfile reads it as one).
NAMES = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


class _Header(tarfile.TarInfo):
    """A tar header. If it cannot be read, that is an error, and not the end as for tarfile."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        # The header's size is that of the file, not of the data to be skipped in the archive.
        if header.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError("a file with holes")
        names = header.type in NAMES
        if names and not 0 <= header.size <= MOST_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {header.size:,} bytes")
        return header

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error


class Ending:
    """A file that stops a reader that reads past the end.

    tarfile skips as many bytes as a header announces, whether the archive has them or not.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._read_beyond_end = 0

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes; raise EOFError after too many reads beyond the end."""
        data = self._file.read(size)
        self._read_beyond_end = 0 if data else self._read_beyond_end + 1
        if self._read_beyond_end > MOST_READS_BEYOND_END:
            raise EOFError("it ends before what it announces")
        return data


class Counted(Ending):
    """An Ending that reports how far the file has been read."""

    def __init__(self, file: IO[bytes], report: Callable[[int], None]) -> None:
        super().__init__(file)
        self._report = report

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes; raise EOFError after too many reads beyond the end."""
        data = super().read(size)
        self._report(self._file.tell())
        return data
