"""Image files for the fuzzers: files that Pillow makes, and broken variants of them."""

from __future__ import annotations

import functools
import io
import re
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from PIL import Image

MOST = 1_000_000  # the largest size of a mutated file, in bytes
NUMBERS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 20_000, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
SIDES = (0, 1, 8, 5000, 20_000, 20_001, 2**31 - 1)
# The beginnings of parts of a file: a JPEG's marker, a PNG's or WebP's chunk.
BORDERS = re.compile(
    rb"\xff[\xc0-\xfe]|....(?:IHDR|PLTE|tRNS|IDAT|eXIf|IEND)|VP8[ LX]|EXIF|ALPH|ANMF", re.DOTALL
)


@functools.cache
def originals() -> tuple[bytes, ...]:
    """Return small images of every kind that the handler reads, and of some that it refuses."""
    ramp = np.add.outer(np.arange(24), np.arange(32)).astype(np.uint8) * 4
    grey = Image.fromarray(ramp)
    colour = Image.merge("RGB", [grey, grey.transpose(Image.Transpose.ROTATE_180), grey])
    alpha = Image.merge("RGBA", [*colour.split(), grey])
    exif = Image.Exif()
    exif[0x0112] = 6
    made = [
        _file(image, "PNG", **options)
        for image in (
            grey,
            grey.convert("1"),
            colour,
            alpha,
            grey.convert("LA"),
            colour.quantize(9),
        )
        for options in ({}, {"exif": exif.tobytes()})
    ]
    made += [
        _file(Image.fromarray(ramp.astype(np.uint16) * 257), "PNG"),
        _file(colour.quantize(9), "PNG", transparency=3),
        _file(grey, "PNG", transparency=4),
    ]
    made += [
        _file(image, "JPEG", progressive=progressive, exif=exif.tobytes(), comment=b"hello")
        for image in (grey, colour, colour.convert("CMYK"))
        for progressive in (False, True)
    ]
    made += [
        _file(image, "WEBP", lossless=lossless) for image in (colour, alpha) for lossless in (0, 1)
    ]
    made += [
        _file(colour, "WEBP", exif=exif.tobytes(), save_all=True, append_images=[grey, colour])
    ]
    made += [_file(image, kind) for image in (grey, colour) for kind in ("GIF", "BMP", "TIFF")]
    return tuple(made)


def _file(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@dataclass(frozen=True)
class Change:
    """One change of a file; `start` and `end` are shares of its length, or of its parts, 0 to 1."""

    kind: str
    start: float
    end: float
    number: int
    times: int
    data: bytes

    def made(self, file: bytes) -> bytes:
        """Return the changed file."""
        at = int(self.start * len(file))
        if self.kind == "cut":
            return file[:at]
        if self.kind == "put":
            return file[:at] + self.data + file[at:]
        if self.kind == "number":
            size = 2 if self.number <= 0xFFFF else 4
            return file[:at] + self.number.to_bytes(size, "big") + file[at + size :]
        borders = [match.start() for match in BORDERS.finditer(file)] or [0]
        first = borders[int(self.start * (len(borders) - 1))]
        last = borders[int(self.end * (len(borders) - 1))]
        first, last = min(first, last), max(first, last)
        if self.kind == "drop":
            return file[:first] + file[last:]
        most = (MOST - len(file)) // max(last - first, 1)
        return file[:last] + file[first:last] * min(self.times, most) + file[last:]


def changes() -> SearchStrategy[Change]:
    """Return changes of a file."""
    share = st.floats(0, 1)
    return st.builds(
        Change,
        kind=st.sampled_from(("cut", "put", "number", "number", "drop", "repeat")),
        start=share,
        end=share,
        number=st.one_of(st.sampled_from(NUMBERS), st.integers(0, 0xFFFF)),
        times=st.sampled_from((1, 2, 19, 30, 2000, 100_000)),
        data=st.binary(max_size=40),
    )


def images() -> SearchStrategy[bytes]:
    """Return files, most of which are broken in one or a few ways."""
    return st.one_of(
        st.builds(
            changed,
            st.sampled_from(originals()),
            st.lists(changes(), max_size=4),
            st.booleans(),
        ),
        st.builds(
            png,
            st.sampled_from(SIDES),
            st.sampled_from(SIDES),
            st.sampled_from((1, 2, 4, 8, 16)),
            st.sampled_from((0, 2, 3, 4, 6)),
            st.booleans(),
        ),
        st.binary(max_size=200),
    )


def changed(file: bytes, made: list[Change], is_mended: bool) -> bytes:
    """Return a file after some changes.

    Args:
        is_mended: True if a PNG's checksums are made right, so that a reader reads more of it.
    """
    for change in made:
        file = change.made(file)[:MOST]
    return with_checksums(file) if is_mended else file


def with_checksums(file: bytes) -> bytes:
    """Return a PNG with right checksums of its chunks; return any other file as it is."""
    if not file.startswith(b"\x89PNG\r\n\x1a\n"):
        return file
    parts, at = [file[:8]], 8
    while at + 8 <= len(file):
        size = int.from_bytes(file[at : at + 4], "big")
        body = file[at + 4 : at + 8 + size]
        parts.append(file[at : at + 4] + body + struct.pack(">I", zlib.crc32(body)))
        at += 12 + size
    return b"".join(parts)


def png(width: int, height: int, bits: int, colour: int, is_interlaced: bool) -> bytes:
    """Return a PNG of zeros, at most two million; its header may claim more."""
    row = 1 + (width * bits * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] + 7) // 8
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, is_interlaced)
    pixels = zlib.compress(bytes(min(row * height, 2_000_000)), 1)
    chunks = [(b"IHDR", header), (b"PLTE", bytes(768)), (b"IDAT", pixels), (b"IEND", b"")]
    return with_checksums(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(struct.pack(">I", len(data)) + kind + data + bytes(4) for kind, data in chunks)
    )
