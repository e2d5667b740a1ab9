"""Reads a wheel's archive into memory; unpacks nothing to disk."""

from __future__ import annotations

import errno
import io
import re
import stat
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from builders.audit.zip_layout import DamagedWheelError, check_end, content_of, gap_faults
from builders.errors import UsageError, printable
from builders.matrix import Runtime
from builders.wheelname import PACKAGE

MODULE = "_pywrap_tensorflow_interpreter_wrapper"

# Lambda's limit for layers and code together, unzipped
# (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
UNPACKED_LIMIT = 250 * 1024 * 1024

# Our wheels have 30 members. NumPy's wheels, which the layers read with this module, have 1,100.
MOST_MEMBERS = 10_000
# The most bytes of a file that goes to a parser; the longest of ours has 39 KB.
TEXT_LIMIT = 4_000_000
TEXT = re.compile(r".*(\.dist-info/.*|\.pyi?)", re.DOTALL)


def extension_name(runtime: Runtime, arch: str) -> str:
    """Return the extension's file name. Its PEP 3149 tag hides it from other Python versions."""
    return f"{MODULE}.cpython-{runtime.tag.removeprefix('cp')}-{arch}-linux-gnu.so"


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A wheel's members, in memory as a whole (they are a few megabytes).

    Attributes:
        infos: the members' entries in the zip's directory.
        contents: the bytes of each member, by its name.
        faults: the places at which two zip readers could see different members or bytes.
    """

    infos: tuple[zipfile.ZipInfo, ...]
    contents: Mapping[str, bytes]
    faults: tuple[str, ...] = ()

    @cached_property
    def dist_info(self) -> str:
        """The name of the metadata folder that installers find.

        If there is none, this is `?.dist-info`, so that look-ups in it find nothing.
        """
        folders = {PurePosixPath(name).parts[0] for name in self.contents}
        return next((f for f in sorted(folders) if f.endswith(".dist-info")), "?.dist-info")

    def metadata(self, name: str) -> bytes | None:
        """Return a file of the metadata folder, or None."""
        return self.contents.get(f"{self.dist_info}/{name}")

    def extension(self, expected: str | None) -> bytes | None:
        """Return the extension with the expected name, else the first that Python could import."""
        if expected is not None and f"{PACKAGE}/{expected}" in self.contents:
            return self.contents[f"{PACKAGE}/{expected}"]
        pattern = re.compile(rf"{PACKAGE}/{MODULE}(\.[\w-]+)?\.so")
        return next((self.contents[n] for n in sorted(self.contents) if pattern.fullmatch(n)), None)


def read_archive(path: Path, *, with_faults: bool = False) -> Archive:
    """Read and verify every member.

    Args:
        with_faults: if two zip readers could see different members or bytes, do not raise, but
            list the places in the archive's `faults`.

    Raises:
        UsageError: the file does not exist, or we may not read it.
        DamagedWheelError: the file is not a whole, safe zip; the message says why.
    """
    try:
        if not path.is_file():
            raise FileNotFoundError(errno.ENOENT, "No such file")
        with path.open("rb") as file:
            size = path.stat().st_size
            if size > UNPACKED_LIMIT:
                raise DamagedWheelError(
                    f"has {size:,} bytes, more than Lambda's {UNPACKED_LIMIT:,}"
                )
            data = file.read(UNPACKED_LIMIT)
    # A file name with a NUL raises ValueError, not OSError.
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"{printable(str(path))}: {what}", remedy="name a wheel file that exists"
        ) from error
    # Damaged bytes make zipfile raise nearly anything: BadZipFile, zlib.error,
    # struct.error, NotImplementedError, UnicodeDecodeError, RuntimeError, ...
    try:
        check_end(data, MOST_MEMBERS)
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            infos = tuple(file.infolist())
        if faults := list(_unsafe(infos)):
            raise DamagedWheelError("; ".join(faults))
        contents = {info.filename: content_of(data, info) for info in infos}
    except DamagedWheelError:
        raise
    except Exception as error:
        raise DamagedWheelError(f"not a readable zip: {error}") from error
    faults = list(gap_faults(data, infos))
    if faults and not with_faults:
        raise DamagedWheelError("; ".join(faults))
    return Archive(infos=infos, contents=contents, faults=tuple(faults))


def _unsafe(infos: tuple[zipfile.ZipInfo, ...]) -> Iterator[str]:
    if not infos:
        yield "the archive is empty"
    if (unpacked := sum(info.file_size for info in infos)) > UNPACKED_LIMIT:
        yield f"unpacks to {unpacked} bytes, more than Lambda's {UNPACKED_LIMIT}"
    for info in infos:
        if info.file_size > TEXT_LIMIT and TEXT.fullmatch(info.filename):
            yield f"{info.filename} unpacks to {info.file_size:,} bytes > {TEXT_LIMIT:,}"
    for name, count in Counter(info.filename for info in infos).items():
        if count > 1:
            yield f"{name} is there {count} times"
    for info in infos:
        if reason := _unsafe_member(info):
            yield f"{info.orig_filename!r} {reason}"


def _unsafe_member(info: zipfile.ZipInfo) -> str | None:
    name = info.orig_filename
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or re.search(r"[\\\0]|^[A-Za-z]:", name):
        return "leads outside the archive"
    if not path.parts or str(path) != name.removesuffix("/"):
        return "is not a normalized path"
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is neither a file nor a folder"
    # Bit 11 of the zip format's general purpose flags marks UTF-8 names, which PEP 427 demands.
    if not name.isascii() and not info.flag_bits & 0x800:
        return "is not encoded as UTF-8"
    return None
