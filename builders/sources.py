"""The locks of sources: builders/sources/<TensorFlow version>.toml.

A lock names every component that is compiled in, and for each origin the component's
archive and its checksum. A build takes all components from the same origin, since only
a whole set of sources is known to work together.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from builders.cache import Cache
from builders.errors import ChecksumError, PieceError, UnreachableError, UsageError
from builders.excerpt import Block, Excerpt, Fetched
from builders.fetch import Fetcher, Progress, piece_name
from builders.tables import Row, is_sha256, read_toml
from builders.wheelname import parse_name

SOURCES = Path(__file__).with_name("sources")
ORIGINS = ("upstream", "debian")


class Relation(StrEnum):
    """How a component belongs to the TensorFlow that it is compiled with."""

    PINNED = "pinned"
    """The component is the one that TensorFlow's tree pins, for Bazel or for CMake."""
    TOGETHER = "shipped together"
    """The component is in the archive that TensorFlow is taken from."""
    SUBSTITUTED = "substituted"
    """The component is another version, from elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A file known by its SHA-256 and by its place: exactly one of `url`, `debian` and `pypi`.

    Attributes:
        size: the file's size in bytes; 0 if the lock does not say. It bounds the download. It is
            in no cache key, since the checksum determines the bytes.
    """

    sha256: str
    size: int = 0
    url: str = ""
    debian: str = ""
    pypi: str = ""

    @property
    def location(self) -> str:
        """The file's place, as text for people and the SBOM."""
        return self.url or (f"debian:{self.debian}" if self.debian else f"pypi:{self.pypi}")

    @property
    def name(self) -> str:
        """The file's name."""
        return (self.url or self.debian or self.pypi).rsplit("/", 1)[-1]

    def is_fetched(self, cache: Cache) -> bool:
        """True if the file is in the cache."""
        return (cache.downloads / self.sha256 / self.name).is_file()

    def fetch(self, fetcher: Fetcher) -> Path:
        """Download the file, and return its path; raise what `Fetcher` raises."""
        if self.url:
            return fetcher.url(self.url, self.sha256, self.size)
        if self.debian:
            return fetcher.debian(self.debian, self.sha256, self.size)
        name = parse_name(self.pypi)
        return fetcher.pypi(name.project, str(name.version), self.pypi, self.sha256)

    def fetched(self, fetcher: Fetcher) -> Fetched:
        """Download the file, and return it ready to be unpacked; raise what `Fetcher` raises."""
        return Fetched(name=self.name, files=((self.sha256, self.fetch(fetcher)),))

    def fetch_block(self, block: Block, fetcher: Fetcher) -> Path:
        """Download a block of the file, and return its path; raise what `Fetcher` raises."""
        if self.url:
            return fetcher.url(self.url, block.sha256, block.length, block.offset)
        return fetcher.debian(self.debian, block.sha256, block.length, block.offset)

    def block_file(self, block: Block) -> Path:
        """Return the path of a block below a folder of downloads."""
        return Path(block.sha256, piece_name(self.name, block.offset))


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where one component comes from, and which folder of the archive it is.

    Attributes:
        version: the component's version, which may differ between origins.
        folder: the folder of the archive that becomes the tree; empty for the whole archive.
        date: the date of the version, if its source tells.
        relation: how the component belongs to TensorFlow, as builders/locking/coherence.py
            computes it; empty if it was not computed.
        excerpt: the blocks of the archive that hold the folder, if they are known. They are in
            no cache key, since the folder has the same bytes.
    """

    name: str
    version: str
    archive: Archive
    folder: str
    date: datetime.date | None = None
    relation: str = ""
    excerpt: Excerpt | None = None

    def is_fetched(self, cache: Cache) -> bool:
        """True if the cache has all files from which the folder is unpacked."""
        return self.archive.is_fetched(cache) or (
            self.excerpt is not None
            and all(
                (cache.downloads / self.archive.block_file(block)).is_file()
                for block in self.excerpt.blocks
            )
        )

    def fetch(self, fetcher: Fetcher, on_fallback: list[str] | None = None) -> Fetched:
        """Download the blocks that hold the folder, or the archive if blocks are not available.

        Args:
            on_fallback: receives a line if the archive is fetched for lack of blocks.

        Raises:
            FetchError, ChecksumError: as in `Fetcher`.
        """
        archive = self.archive
        if self.excerpt is not None and not fetcher.has(archive.sha256, archive.name):
            counted = replace(fetcher, progress=_summed(fetcher, archive.name, self.excerpt))
            try:
                files = tuple(
                    (block.sha256, archive.fetch_block(block, counted))
                    for block in self.excerpt.blocks
                )
            except (PieceError, ChecksumError) as error:
                if fetcher.offline:
                    raise
                if on_fallback is not None:
                    on_fallback.append(f"{error.what}; fetching all of it")
            else:
                return Fetched(name=archive.name, files=files, excerpt=self.excerpt)
        return archive.fetched(fetcher)


@dataclass(frozen=True, kw_only=True)
class Component:
    """An upstream project whose source is compiled in."""

    name: str
    licence: str
    licence_files: tuple[str, ...]
    origins: Mapping[str, Origin]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A component with the origin that was chosen for it."""

    component: Component
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class Lock:
    """All components of one TensorFlow version."""

    tensorflow: str
    components: tuple[Component, ...]

    @property
    def origins(self) -> tuple[str, ...]:
        """The origins that have every component, in order of preference."""
        return tuple(o for o in ORIGINS if all(o in c.origins for c in self.components))

    def sources(self, origin: str) -> tuple[Source, ...]:
        """Return every component from that origin.

        Raises:
            UsageError: the lock does not have the origin for every component.
        """
        if origin not in self.origins:
            raise UsageError(
                f"the lock of TensorFlow {self.tensorflow} has no origin {origin!r}",
                remedy=f"choose one of {', '.join(self.origins)}",
            )
        return tuple(Source(component=c, origin=c.origins[origin]) for c in self.components)


def is_locked(tensorflow: str, folder: Path = SOURCES) -> bool:
    """True if there is a lock of a TensorFlow version."""
    return (folder / f"{tensorflow}.toml").is_file()


def load_lock(tensorflow: str, folder: Path = SOURCES) -> Lock:
    """Read and validate the lock of a TensorFlow version.

    Raises:
        UsageError: there is no lock, or it is malformed; the message names the component.
    """
    path = folder / f"{tensorflow}.toml"
    if not is_locked(tensorflow, folder):
        locked = ", ".join(sorted(p.stem for p in folder.glob("*.toml")))
        raise UsageError(
            f"TensorFlow {tensorflow} is declared, but its sources are not locked yet",
            remedy=f"locked are: {locked}",
        )
    top = Row(path.name, read_toml(path))
    components = tuple(_component(row, path.name) for row in top.rows("component", "name"))
    top.done()
    names = [component.name for component in components]
    if len(set(names)) != len(names):
        raise UsageError(f"{path.name} has a component twice: {', '.join(names)}")
    return Lock(tensorflow=tensorflow, components=components)


def fetch_sources(
    lock: Lock, choice: str, fetcher: Fetcher, on_fallback: list[str] | None = None
) -> tuple[Source, ...]:
    """Download the archives of all components from one origin.

    Args:
        choice: an origin, or `auto` for the first origin whose hosts answer.
        on_fallback: receives a line for each origin that is passed over.

    Returns:
        The components, with the origin that they were downloaded from.

    Raises:
        FetchError, ChecksumError: as in `Fetcher`.
    """
    names = lock.origins if choice == "auto" else (choice,)
    for name in names:
        sources = lock.sources(name)
        if name == names[-1]:
            # There is no other origin to fall back to, so ask unreachable hosts again.
            fetcher = replace(fetcher, retry_unreachable=True)
        try:
            for source in sources:
                source.origin.fetch(fetcher, on_fallback)
        except UnreachableError as error:
            if name == names[-1]:
                raise
            if on_fallback is not None:
                on_fallback.append(f"origin {name}: {error.what}; using the next one")
            continue
        return sources
    raise UsageError(f"the lock of TensorFlow {lock.tensorflow} has no complete origin")


def _summed(fetcher: Fetcher, name: str, excerpt: Excerpt) -> Callable[[str], Progress]:
    """Return the progress callbacks of an excerpt's blocks, which show them as one file."""
    show = fetcher.progress(name)
    starts = itertools.accumulate((block.length for block in excerpt.blocks), initial=0)
    before = {
        piece_name(name, block.offset): start
        for block, start in zip(excerpt.blocks, starts, strict=False)
    }
    return lambda block: lambda done, _total: show(before[block] + done, excerpt.size)


def _component(row: Row, file: str) -> Component:
    row.name = f"{file}: {row.name}"
    # The name is also that of a folder.
    name = row.take("name", str, str.isidentifier)
    licence = row.take("licence", str, is_licence)
    licence_files = row.strings("licence_files")
    tables = row.take("origins", dict, lambda t: set(t) <= set(ORIGINS))
    origins = {key: _origin(f"{row.name}: {key}", key, table) for key, table in tables.items()}
    row.done()
    if not origins or not licence_files:
        raise UsageError(f"{row.name}: needs an origin and a licence file")
    return Component(name=name, licence=licence, licence_files=licence_files, origins=origins)


def is_licence(text: str) -> bool:
    """True if the text is an SPDX licence expression, as the metadata of a wheel spells it."""
    try:
        return canonicalize_license_expression(text) == text
    except InvalidLicenseExpression:
        return False


def _origin(where: str, name: str, data: Mapping[str, Any]) -> Origin:
    if not isinstance(data, dict):
        raise UsageError(f"{where}: must be a table, not {data!r}")
    row = Row(where, data)
    archive = Archive(
        sha256=row.take("sha256", str, is_sha256),
        size=row.take("size", int, lambda size: size > 0, default=0),
        url=row.take("url", str, default=""),
        debian=row.take("debian", str, default=""),
        pypi=row.take("pypi", str, default=""),
    )
    if sum(map(bool, (archive.url, archive.debian, archive.pypi))) != 1:
        raise UsageError(f"{where}: needs exactly one of url, debian, pypi")
    origin = Origin(
        name=name,
        version=row.take("version", str),
        archive=archive,
        folder=row.take("folder", str, default=""),
        date=row.take("date", datetime.date) if row.has("date") else None,
        relation=row.take("relation", str, lambda text: text in list(Relation), default=""),
        excerpt=_excerpt(row) if row.has("blocks") else None,
    )
    row.done()
    return origin


def _excerpt(row: Row) -> Excerpt:
    blocks = row.take("blocks", list, lambda found: bool(found) and all(map(_is_block, found)))
    spans = row.take("spans", list, lambda found: bool(found) and all(map(_is_span, found)))
    return Excerpt(
        blocks=tuple(
            Block(offset=offset, length=length, sha256=sha256) for offset, length, sha256 in blocks
        ),
        spans=tuple((start, end) for start, end in spans),
    )


def _is_block(data: object) -> bool:
    match data:
        case [int(offset), int(length), str(sha256)] if type(offset) is type(length) is int:
            return offset >= 0 and length > 0 and is_sha256(sha256)
    return False


def _is_span(data: object) -> bool:
    match data:
        case [int(start), int(end)] if type(start) is type(end) is int:
            return 0 <= start < end
    return False
