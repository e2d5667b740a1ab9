"""Archives of several xz blocks, as `xz --threads` writes them, for tests of excerpts."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from test_builders_unpack import Member, write_tar

from builders.locking.excerpts import Unpacked

HEADER = 12
FOOTER = 12


@dataclass(frozen=True)
class Archive:
    """A tar archive of several xz blocks."""

    data: bytes
    blocks: tuple[Unpacked, ...]

    def block(self, number: int) -> bytes:
        """Return the bytes of one block."""
        block = self.blocks[number]
        return self.data[block.offset : block.offset + block.length]


def archive(folder: Path, members: Sequence[Member], size: int) -> Archive:
    """Make an archive whose blocks unpack to `size` bytes each."""
    path = write_tar(folder / "members.tar", members)
    tar = path.read_bytes()
    path.unlink()
    parts = [tar[start : start + size] for start in range(0, len(tar), size)]
    streams = [lzma.compress(part, lzma.FORMAT_XZ, lzma.CHECK_CRC64, preset=0) for part in parts]
    data, records, blocks = streams[0][:HEADER], b"", []
    for number, (part, stream) in enumerate(zip(parts, streams, strict=True)):
        index = (int.from_bytes(stream[-8:-4], "little") + 1) * 4
        block = stream[HEADER : -FOOTER - index]
        blocks.append(Unpacked(len(data), len(block), number * size, len(part)))
        data += block
        records += _record(stream[-FOOTER - index : -FOOTER])
    return Archive(data + _end(len(parts), records), tuple(blocks))


def _record(index: bytes) -> bytes:
    """Return the one record of an index: two numbers, each ending at its first byte below 0x80."""
    end = 2
    for _ in range(2):
        while index[end] & 0x80:
            end += 1
        end += 1
    return index[2:end]


def _end(count: int, records: bytes) -> bytes:
    """Return index and footer (the .xz format, sections 4 and 2.1.2)."""
    index = b"\0" + _number(count) + records
    index += bytes(-len(index) % 4)
    index += _crc32(index)
    about = (len(index) // 4 - 1).to_bytes(4, "little") + b"\0\4"
    return index + _crc32(about) + about + b"YZ"


def _number(value: int) -> bytes:
    data = b""
    while value >= 0x80:
        data += bytes([value & 0x7F | 0x80])
        value >>= 7
    return data + bytes([value])


def _crc32(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "little")
