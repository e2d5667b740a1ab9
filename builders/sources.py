"""The locks of sources: builders/sources/<TensorFlow version>.toml.

A lock names every component that is compiled in, and for each origin the archive
it comes from, by checksum. The origins of one build are all the same, since a set
of sources is only known to work together.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders.errors import UnreachableError, UsageError
from builders.fetch import Fetcher
from builders.matrix import Row, is_sha256

SOURCES = Path(__file__).with_name("sources")
ORIGINS = ("upstream", "debian")


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A file known by its SHA-256 and by where it is to be had: one of the three."""

    sha256: str
    url: str = ""
    debian: str = ""
    pypi: str = ""

    @property
    def location(self) -> str:
        """For people and the SBOM."""
        return self.url or (f"debian:{self.debian}" if self.debian else f"pypi:{self.pypi}")

    def fetch(self, fetcher: Fetcher) -> Path:
        """The downloaded file; raises what `Fetcher` does."""
        if self.url:
            return fetcher.url(self.url, self.sha256)
        if self.debian:
            return fetcher.debian(self.debian, self.sha256)
        project, version, *_ = self.pypi.split("-")
        return fetcher.pypi(project, version, self.pypi, self.sha256)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where one component comes from, and which part of the archive it is.

    Attributes:
        version: of the component, which may differ between origins.
        folder: the folder of the archive that becomes the tree; empty for all of it.
    """

    name: str
    version: str
    archive: Archive
    folder: str


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
        """The origins that every component can be had from, in order of preference."""
        return tuple(o for o in ORIGINS if all(o in c.origins for c in self.components))

    def sources(self, origin: str) -> tuple[Source, ...]:
        """Every component from that origin.

        Raises:
            UsageError: the lock does not have it.
        """
        if origin not in self.origins:
            raise UsageError(
                f"the lock of TensorFlow {self.tensorflow} has no origin {origin!r}",
                remedy=f"choose one of {', '.join(self.origins)}",
            )
        return tuple(Source(component=c, origin=c.origins[origin]) for c in self.components)


def load_lock(tensorflow: str, folder: Path = SOURCES) -> Lock:
    """Read and validate the lock of a TensorFlow version.

    Raises:
        UsageError: there is none, or it is malformed; the component is named.
    """
    path = folder / f"{tensorflow}.toml"
    if not path.is_file():
        locked = ", ".join(sorted(p.stem for p in folder.glob("*.toml")))
        raise UsageError(
            f"TensorFlow {tensorflow} is declared, but its sources are not locked yet",
            remedy=f"locked are: {locked}",
        )
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path.name} is not TOML: {error}") from error
    top = Row(path.name, data)
    components = tuple(_component(path.name, row) for row in top.take("component", list))
    top.done()
    return Lock(tensorflow=tensorflow, components=components)


def fetch_sources(
    lock: Lock, choice: str, fetcher: Fetcher, on_fallback: Iterable[str] | None = None
) -> tuple[Source, ...]:
    """Download the archives of all components from one origin.

    Args:
        choice: an origin, or `auto`: the first whose hosts answer.
        on_fallback: receives a line for each origin passed over (a list).

    Returns:
        The components with the origin they were had from.

    Raises:
        FetchError, ChecksumError: as `Fetcher` does.
    """
    names = lock.origins if choice == "auto" else (choice,)
    for name in names:
        sources = lock.sources(name)
        try:
            for archive in dict.fromkeys(source.origin.archive for source in sources):
                archive.fetch(fetcher)
        except UnreachableError as error:
            if name == names[-1]:
                raise
            if isinstance(on_fallback, list):
                on_fallback.append(f"origin {name}: {error.what}; using the next one")
            continue
        return sources
    raise UsageError(f"the lock of TensorFlow {lock.tensorflow} has no complete origin")


def _component(file: str, data: Mapping[str, Any]) -> Component:
    row = Row(f"{file}: component {data.get('name', '?')}", data)
    name = row.take("name", str)
    licence = row.take("licence", str)
    licence_files = tuple(row.take("licence_files", list))
    origins = {
        key: _origin(f"{row.name}: {key}", key, table)
        for key, table in row.take("origins", dict, lambda t: set(t) <= set(ORIGINS)).items()
    }
    row.done()
    if not origins or not licence_files:
        raise UsageError(f"{row.name}: needs an origin and a licence file")
    return Component(name=name, licence=licence, licence_files=licence_files, origins=origins)


def _origin(where: str, name: str, data: Mapping[str, Any]) -> Origin:
    row = Row(where, data)
    archive = Archive(
        sha256=row.take("sha256", str, is_sha256),
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
    )
    row.done()
    return origin
