"""Unpack the wanted folders of an archive, and nothing outside their destination.

Only regular files, folders and links that stay inside are written; a device file,
an absolute name or a `..` is an error (tarfile.data_filter, PEP 706).
"""

from __future__ import annotations

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, cast

from builders.errors import ArchiveError

DAMAGED = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError)


def unpack(
    archive: Path,
    folders: Mapping[str, Path],
    progress: Callable[[int, int | None], None] = lambda _done, _total: None,
) -> None:
    """Unpack folders of a tar archive (any compression) or a zip (a wheel, too).

    Args:
        folders: a folder's name in the archive (empty for all of it) -> where its
            contents go.
        progress: is called with the bytes of the archive read, and its size.

    Raises:
        ArchiveError: the archive is damaged, unsafe, or lacks a folder.
    """
    total = archive.stat().st_size
    try:
        if zipfile.is_zipfile(archive):
            found = _unpack_zip(archive, folders)
            progress(total, total)
        else:
            with archive.open("rb") as raw:
                counted = cast(IO[bytes], _Counted(raw, lambda done: progress(done, total)))
                found = _unpack_tar(counted, folders)
    except DAMAGED as error:
        raise ArchiveError(
            f"{archive.name} is damaged or unsafe: {error}",
            remedy=f"delete {archive.parent} and run again",
        ) from error
    for folder in folders.keys() - found:
        raise ArchiveError(f"{archive.name} has no folder {folder!r}")


def _unpack_tar(raw: IO[bytes], folders: Mapping[str, Path]) -> set[str]:
    found = set()
    # A stream is read once, front to back: seeking in a compressed one would
    # decompress it again.
    with tarfile.open(fileobj=raw, mode="r|*") as tar:
        for member in tar:
            for folder, name in _wanted(member.name, folders):
                found.add(folder)
                target = folders[folder]
                safe = tarfile.data_filter(member.replace(name=name, deep=False), str(target))
                tar.extract(safe, target, set_attrs=False, filter="fully_trusted")
                if safe.isfile() and safe.mode is not None and safe.mode & stat.S_IXUSR:
                    (target / name).chmod(0o755)
    return found


def _unpack_zip(archive: Path, folders: Mapping[str, Path]) -> set[str]:
    found = set()
    with zipfile.ZipFile(archive) as wheel:
        for info in wheel.infolist():
            for folder, name in _wanted(info.filename, folders):
                found.add(folder)
                kind = stat.S_IFMT(info.external_attr >> 16)
                if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                    raise zipfile.BadZipFile(f"{info.filename!r} would be outside its folder")
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise zipfile.BadZipFile(f"{info.filename!r} is not a regular file")
                if info.is_dir():
                    continue
                target = folders[folder] / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with wheel.open(info) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)
    return found


def _wanted(name: str, folders: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """The folders that a member is in, with its name below each."""
    name = name.removeprefix("./")
    for folder in folders:
        if not folder:
            yield folder, name
        elif name.startswith(folder + "/") and len(name) > len(folder) + 1:
            yield folder, name[len(folder) + 1 :]


class _Counted:
    """A file that reports how far it has been read."""

    def __init__(self, file: IO[bytes], report: Callable[[int], None]) -> None:
        self._file = file
        self._report = report

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._report(self._file.tell())
        return data
