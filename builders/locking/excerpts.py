"""Which blocks of an archive hold the folder of a component: written into locks.

The archive is fetched whole and read from front to back; what is written is what an excerpt
was then seen to give, member by member.
"""

from __future__ import annotations

import hashlib
import itertools
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Literal, cast

from builders.errors import ArchiveError, ToolchainError
from builders.excerpt import Block, Excerpt, opened
from builders.fetch import Fetcher
from builders.sources import Archive, Lock
from builders.unpack import Counted, below

SUFFIX = ".tar.xz"
CHECK = "CRC64"
"""That of the blocks which builders.excerpt reads."""
WORTH = 0.5
"""An excerpt is one where it has at most this part of the archive's bytes."""
SECONDS = 60

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Unpacked:
    """An xz block, and what it unpacks to.

    Attributes:
        offset, length: of the block in the archive, in bytes.
        start, size: of what it unpacks to in the archive unpacked, in bytes.
    """

    offset: int
    length: int
    start: int
    size: int


@dataclass
class _Members:
    """The members of one folder: where they are, and what they are."""

    spans: list[tuple[int, int]] = field(default_factory=list)
    told: list[tuple[object, ...]] = field(default_factory=list)

    def add(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        digest = ""
        if member.isreg() and (data := tar.extractfile(member)) is not None:
            digest = hashlib.sha256(data.read()).hexdigest()
        self.told.append((member.name, member.type, member.mode, member.linkname, digest))
        records = -(-member.size // tarfile.BLOCKSIZE) if member.isreg() else 0
        start, end = member.offset, member.offset_data + records * tarfile.BLOCKSIZE
        if self.spans and self.spans[-1][1] == start:
            start, _ = self.spans.pop()
        self.spans.append((start, end))


def with_excerpts(lock: Lock, fetcher: Fetcher, progress: Callable[[str], Progress]) -> Lock:
    """The lock with the excerpt of every component that is worth one.

    Args:
        progress: gives the progress callback of an archive that is read, by its name.

    Raises:
        FetchError, ChecksumError: an archive cannot be had whole.
        ArchiveError: an archive is damaged, or an excerpt does not give what it does.
        ToolchainError: there is no xz on this machine.
    """
    archives: dict[Archive, dict[str, Excerpt | None]] = {}
    for component in lock.components:
        for origin in component.origins.values():
            if origin.archive.debian.endswith(SUFFIX):
                archives.setdefault(origin.archive, {})[origin.folder] = None
    for archive, folders in archives.items():
        path = archive.fetch(fetcher)
        folders.update(excerpts(path, tuple(folders), progress(archive.name)))
    components = []
    for component in lock.components:
        origins = {
            name: replace(origin, excerpt=archives.get(origin.archive, {}).get(origin.folder))
            for name, origin in component.origins.items()
        }
        components.append(replace(component, origins=origins))
    return replace(lock, components=tuple(components))


def excerpts(path: Path, folders: tuple[str, ...], progress: Progress) -> dict[str, Excerpt]:
    """The excerpt of each folder of an archive that is worth one.

    Raises:
        ArchiveError, ToolchainError: as `with_excerpts`.
    """
    blocks = blocks_of(path)
    if len(blocks) < 2:
        return {}
    total = path.stat().st_size
    with path.open("rb") as raw:
        counted = cast(IO[bytes], Counted(raw, lambda done: progress(done, total)))
        members = _members(counted, "r|xz", folders)
    found = {}
    with path.open("rb") as raw:
        for folder, of_folder in members.items():
            if not of_folder.spans:
                raise ArchiveError(f"{path.name} has no folder {folder!r}")
            excerpt, data = _excerpt(raw, blocks, of_folder.spans)
            if excerpt.size > WORTH * total:
                continue
            again = _members(opened(data, excerpt), "r|", (folder,))[folder]
            if again.told != of_folder.told:
                raise ArchiveError(f"{path.name}: an excerpt has other members of {folder}")
            found[folder] = excerpt
    return found


def blocks_of(path: Path) -> list[Unpacked]:
    """The blocks of an xz file, by its own index; none where they have another check.

    Raises:
        ArchiveError: it is no such file.
        ToolchainError: there is no xz on this machine.
    """
    command = ["xz", "--robot", "--list", "--verbose", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except FileNotFoundError as error:
        raise ToolchainError(
            "there is no xz on this machine", remedy="install xz-utils, or leave out --excerpts"
        ) from error
    if done.returncode:
        raise ArchiveError(f"xz cannot read {path.name}: {done.stderr.strip()}")
    # The columns are those of xz(1), "Robot mode", "List mode".
    rows = [line.split("\t") for line in done.stdout.splitlines() if line.startswith("block\t")]
    if any(row[9] != CHECK for row in rows):
        return []
    return [Unpacked(int(row[4]), int(row[6]), int(row[5]), int(row[7])) for row in rows]


def _members(
    raw: IO[bytes], mode: Literal["r|", "r|xz"], folders: tuple[str, ...]
) -> Mapping[str, _Members]:
    """The members of folders of a tar archive."""
    found = {folder: _Members() for folder in folders}
    with tarfile.open(fileobj=raw, mode=mode) as tar:
        for member in tar:
            for folder, members in found.items():
                if below(folder, member.name) is not None:
                    members.add(tar, member)
            # It keeps every member; Chromium has half a million.
            tar.members.clear()  # type: ignore[attr-defined]
    return found


def _excerpt(
    raw: IO[bytes], blocks: list[Unpacked], spans: list[tuple[int, int]]
) -> tuple[Excerpt, list[bytes]]:
    """The excerpt with those spans of the unpacked archive, and its blocks' bytes."""
    taken = [b for b in blocks if any(s < b.start + b.size and b.start < e for s, e in spans)]
    data = []
    for block in taken:
        raw.seek(block.offset)
        data.append(raw.read(block.length))
    return Excerpt(
        blocks=tuple(
            Block(offset=b.offset, length=b.length, sha256=hashlib.sha256(d).hexdigest())
            for b, d in zip(taken, data, strict=True)
        ),
        spans=tuple(_shifted(taken, spans)),
    ), data


def _shifted(taken: list[Unpacked], spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Spans of the unpacked archive, in what the taken blocks unpack to one after another."""
    starts = itertools.accumulate((block.size for block in taken), initial=0)
    places = list(zip(taken, starts, strict=False))
    for start, end in spans:
        # What is between a span's first and last block is in the span, and so is taken.
        first, place = next((b, p) for b, p in places if b.start <= start < b.start + b.size)
        shifted = start - first.start + place
        yield shifted, shifted + end - start
