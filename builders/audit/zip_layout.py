"""Does every zip reader see the same members, from the directory or from front to back?

Some readers (pip) use the zip's directory, others read the file from front to back. They see
different members if there are bytes between the members, or if a local header differs from the
directory.

Source: PKWARE, APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence

END = struct.Struct("<IHHHHIIH")
END_SIGNATURE = 0x06054B50
LOCAL = struct.Struct("<IHHHHHIIIHH")
LOCAL_SIGNATURE = 0x04034B50
# A header of the directory has 46 bytes, followed by a name, an extra field and a comment.
MOST_BYTES_OF_A_HEADER = 2_000
# General purpose flags: the member is encrypted; its sizes follow its data.
ENCRYPTED, SIZES_FOLLOW = 0x1, 0x8


class DamagedWheelError(Exception):
    """The archive cannot be read in full. It makes a check fail; it is not a user error."""


def check_end(data: bytes, most: int) -> None:
    """Refuse a zip whose directory does not end the file, or is too large to read.

    Raises:
        DamagedWheelError: the directory does not end the file, or has more than `most` members.
    """
    place = len(data) - END.size
    # zipfile also accepts an end record further up, and would ignore the bytes after it.
    if place < 0 or END.unpack_from(data, place)[0] != END_SIGNATURE:
        if data.rfind(END_SIGNATURE.to_bytes(4, "little"), max(0, place - 65_535)) < 0:
            raise DamagedWheelError("not a readable zip: File is not a zip file")
        raise DamagedWheelError("the file holds bytes besides the archive's members: at its end")
    _, disk, first_disk, here, count, size, start, comment = END.unpack_from(data, place)
    if disk or first_disk or here != count or comment or start + size != place:
        raise DamagedWheelError(
            "the file holds bytes besides the archive's members, or its end lies about them"
        )
    if count > most or size > most * MOST_BYTES_OF_A_HEADER:
        raise DamagedWheelError(f"has {count:,} members, more than {most:,}")
    # The directory may hold more headers than its end record says.
    if data.count(b"PK\1\2", start, place) > most:
        raise DamagedWheelError(f"has more than {most:,} members")


def gap_faults(data: bytes, infos: Sequence[zipfile.ZipInfo]) -> Iterator[str]:
    """Yield the bytes that belong to no member, and local headers that differ from the directory.

    Each is a sentence.
    """
    count, start = END.unpack_from(data, len(data) - END.size)[4:7:2]
    if count != len(infos):
        yield f"the directory has {len(infos)} members, its end says {count}"
    reached = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset != reached:
            yield f"{info.header_offset - reached} bytes before {info.filename} are no member's"
        reached = info.header_offset + LOCAL.size
        signature, _, flags, method, time, date, crc, packed, size, name, extra = LOCAL.unpack_from(
            data, info.header_offset
        )
        year, month, day, hour, minute, second = info.date_time
        there = (
            LOCAL_SIGNATURE,
            info.flag_bits,
            info.compress_type,
            hour << 11 | minute << 5 | second // 2,
            (year - 1980) << 9 | month << 5 | day,
            info.CRC,
            info.compress_size,
            info.file_size,
            len(info.extra),
        )
        if flags & SIZES_FOLLOW:
            yield f"the sizes of {info.filename} follow its data"
            reached += name + extra + info.compress_size + 16
            continue
        encoding = "utf-8" if info.flag_bits & 0x800 else "cp437"
        same_name = data[reached : reached + name] == info.orig_filename.encode(encoding)
        if (
            not same_name
            or (signature, flags, method, time, date, crc, packed, size, extra) != there
        ):
            yield f"the local header of {info.filename} differs from the directory"
        reached += name + extra + info.compress_size
    if reached != start:
        yield f"{start - reached} bytes before the directory are no member's"


def content_of(data: bytes, info: zipfile.ZipInfo) -> bytes:
    """Return a member's bytes.

    Raises:
        DamagedWheelError: the member's length, CRC-32 or compression is not what the directory
            says or allows, or its stream goes on after its end.
        struct.error, zlib.error: the member cannot be read.
    """
    name, extra = LOCAL.unpack_from(data, info.header_offset)[-2:]
    start = info.header_offset + LOCAL.size + name + extra
    packed = data[start : start + info.compress_size]
    if len(packed) != info.compress_size or info.flag_bits & ENCRYPTED:
        raise DamagedWheelError(f"{info.filename} is cut short, or encrypted")
    if info.compress_type == zipfile.ZIP_STORED:
        content, whole = packed, True
    elif info.compress_type == zipfile.ZIP_DEFLATED:
        stream = zlib.decompressobj(-zlib.MAX_WBITS)
        # Ask for one byte more than the directory says, to notice a longer member.
        content = stream.decompress(packed, info.file_size + 1)
        whole = stream.eof and not stream.unused_data
    else:
        raise DamagedWheelError(f"{info.filename} is neither stored nor deflated")
    if not whole or len(content) != info.file_size:
        raise DamagedWheelError(
            f"{info.filename} is not of the {info.file_size:,} bytes that the archive says"
        )
    if zlib.crc32(content) != info.CRC:
        raise DamagedWheelError(f"{info.filename} has the wrong CRC-32")
    return content
