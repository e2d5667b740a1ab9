"""Excerpts: the blocks of a large archive that hold one folder of it.

An archive of Debian that was packed by several threads is a sequence of xz blocks, and each
block can be unpacked alone. A mirror sends any range of bytes. So to fetch a folder of Chromium,
we download the megabytes of that folder, and not those of the whole archive. The lock says which
blocks hold a folder; ./scripts/lock writes it.
"""

from __future__ import annotations

import io
import itertools
import lzma
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builders.fetch import verify
from builders.unpack import unpack, unpack_stream

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

STREAM_HEADER = bytes.fromhex("fd377a585a000004e6d6b446")
"""The header of every xz file whose blocks have a CRC-64, xz's default (the .xz format, 2.1.1)."""
MOST_AT_ONCE = 1 << 20
END_OF_TAR = bytes(1024)
"""Two records of zeros (POSIX.1-2017, pax, "ustar Interchange Format")."""

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, kw_only=True)
class Block:
    """An xz block: a range of an archive's bytes.

    Attributes:
        offset, length: where the block begins in the archive, and its size, in bytes.
    """

    offset: int
    length: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Excerpt:
    """The blocks that hold a folder, and where in them the folder's members are.

    Attributes:
        blocks: the blocks, in the archive's order.
        spans: the ranges of bytes to keep of the unpacked blocks, one block after another.
            Each range is its first byte and the byte after its last. It holds whole members
            of the tar archive, with their headers.
    """

    blocks: tuple[Block, ...]
    spans: tuple[tuple[int, int], ...]

    @property
    def size(self) -> int:
        """The size of the download, in bytes."""
        return sum(block.length for block in self.blocks)


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """The downloaded files of an archive.

    Attributes:
        name: the archive's name.
        files: the SHA-256 and path of each file: of the archive, or of the excerpt's blocks.
    """

    name: str
    files: tuple[tuple[str, Path], ...]
    excerpt: Excerpt | None = None

    def unpack(self, folders: Mapping[str, Path], progress: Progress) -> None:
        """Unpack folders; see builders.unpack.

        Raises:
            ChecksumError: a file is not the one that was fetched.
            ArchiveError: the archive is damaged, unsafe, or lacks a folder.
        """
        # A file's name does not prove its contents.
        for sha256, path in self.files:
            verify(path, sha256, path.name)
        paths = [path for _sha256, path in self.files]
        if self.excerpt is None:
            (archive,) = paths
            unpack(archive, folders, progress)
            return
        total = self.excerpt.size
        blocks = _counted(paths, lambda done: progress(done, total))
        stream = opened(blocks, self.excerpt)
        unpack_stream(stream, f"the excerpt of {self.name}", total, folders)
        progress(total, total)


def opened(blocks: Iterable[bytes], excerpt: Excerpt) -> io.BufferedReader:
    """Return the members of an excerpt as a tar archive, to be read from front to back.

    A read raises lzma.LZMAError if the blocks are damaged, and EOFError if they end before
    the last member.
    """
    return io.BufferedReader(_Excerpted(_unpacked(blocks), excerpt))


def _counted(paths: Iterable[Path], report: Callable[[int], None]) -> Iterator[bytes]:
    """Yield the bytes of each file, and report how many were read so far."""
    done = 0
    for path in paths:
        data = path.read_bytes()
        yield data
        done += len(data)
        report(done)


def _unpacked(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the unpacked contents of blocks, in pieces of at most MOST_AT_ONCE bytes.

    After the header that all such files share, the blocks are one xz stream. The stream's
    index is missing, but only a reader that reads on to the end would notice.
    """
    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    for data in itertools.chain([STREAM_HEADER], blocks):
        yield decoder.decompress(data, MOST_AT_ONCE)
        while not decoder.needs_input and not decoder.eof:
            yield decoder.decompress(b"", MOST_AT_ONCE)


class _Excerpted(io.RawIOBase):
    """The members of an excerpt, as a tar archive that is read from front to back."""

    def __init__(self, pieces: Iterator[bytes], excerpt: Excerpt) -> None:
        super().__init__()
        self._members = itertools.chain(_cut(pieces, excerpt.spans), [END_OF_TAR])
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        into = memoryview(buffer)
        while not self._rest:
            piece = next(self._members, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(into), len(self._rest))
        into[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


def _cut(pieces: Iterator[bytes], spans: tuple[tuple[int, int], ...]) -> Iterator[bytes]:
    """Yield the bytes of a stream's spans.

    Raises:
        EOFError: the stream ends before the last span does.
    """
    piece, begins = b"", 0
    for start, end in spans:
        while start < end:
            while begins + len(piece) <= start:
                begins += len(piece)
                following = next(pieces, None)
                if following is None:
                    raise EOFError("it ends before the last of its members")
                piece = following
            part = piece[start - begins : end - begins]
            yield part
            start += len(part)
