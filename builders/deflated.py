"""Zip files that are smaller than zlib's, and have the same bytes on every machine.

libdeflate tries harder than zlib, and its version is pinned. Each machine has its own zlib,
which does not promise the same output (https://zlib.net/zlib_faq.html#faq24).
"""

from __future__ import annotations

import io
from types import TracebackType
from typing import IO, Literal
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo
from zlib import crc32

import deflate
from wheel.wheelfile import WheelFile

LEVEL = 12
"""The level of libdeflate that makes the smallest files."""


class DeflatedZip(ZipFile):
    """A zip file whose deflated members libdeflate has compressed."""

    def open(
        self,
        name: str | ZipInfo,
        mode: Literal["r", "w"] = "r",
        pwd: bytes | None = None,
        *,
        force_zip64: bool = False,
    ) -> IO[bytes]:
        """Open a member, as Python's own `ZipFile` does.

        A member that is opened for writing is kept in memory until it is closed.
        """
        if mode == "r" or not isinstance(name, ZipInfo) or name.compress_type != ZIP_DEFLATED:
            return super().open(name, mode, pwd, force_zip64=force_zip64)
        return _Member(self, name)

    def _write(self, member: ZipInfo, data: bytes) -> None:
        member.compress_type = ZIP_STORED
        with super().open(member, "w") as raw:
            raw.write(deflate.deflate_compress(data, LEVEL))
        member.compress_type = ZIP_DEFLATED
        member.file_size = len(data)
        member.CRC = crc32(data)
        # Write the header again, with the real method, size and CRC. The directory is written
        # later, from the same object.
        assert self.fp is not None
        end = self.fp.tell()
        self.fp.seek(member.header_offset)
        self.fp.write(member.FileHeader())
        self.fp.seek(end)


class DeflatedWheel(DeflatedZip, WheelFile):  # type: ignore[misc]  # it has no types
    """A wheel whose deflated members libdeflate has compressed."""


class _Member(io.BytesIO):
    def __init__(self, archive: DeflatedZip, member: ZipInfo) -> None:
        super().__init__()
        self._archive = archive
        self._member = member

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._archive._write(self._member, self.getvalue())
        self.close()
