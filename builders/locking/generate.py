"""A lock of sources, from what a TensorFlow tree pins.

Of each component the upstream origin is what the tree's Bazel files pin, since those
alone have checksums of all archives. Other origins are what people found, and are kept
as they are in the lock that there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.version import Version

from builders.errors import ArchiveError, UsageError
from builders.locking import bazel, cmake
from builders.locking.coherence import UPSTREAM, with_relations
from builders.matrix import TensorFlow
from builders.sources import Archive, Component, Lock, Origin
from builders.tables import Row, is_sha256, is_version, read_toml

COMPONENTS = Path(__file__).with_name("components.toml")
TARBALL = "https://github.com/tensorflow/tensorflow/archive/refs/tags/v{version}.tar.gz"

HEADER = """\
# The sources of TensorFlow {version}: each component that is compiled in, and for each
# origin the archive it comes from. Written by ./scripts/lock, but for origin debian.
#
#   upstream  the archives that TensorFlow {version} itself pins, by SHA-256
#             (tensorflow/workspace2.bzl and third_party/*/workspace.bzl)
#   debian    for machines that reach only a Debian mirror: paths below its
#             pool/main/, and wheels of PyPI for their headers. Some components are
#             newer there.
#
#   size      of the archive in bytes, where somebody has it: a download ends there
#   blocks    of the archive that hold the folder: offset and length in bytes, and SHA-256.
#             A build fetches these; all of the archive where it cannot have them
#   spans     where in what the blocks unpack to, one after another, the folder's members are
#   date      the day of that version, where its source tells
#   relation  how it belongs to this TensorFlow, by what the tree pins for Bazel and CMake:
#             pinned; shipped together, in one archive with it; or substituted
#
# licence_files are relative to the folder of trees.
"""


@dataclass(frozen=True, kw_only=True)
class Named:
    """A component, and its names where TensorFlow pins it; see components.toml."""

    name: str
    bazel: str
    cmake: str
    before: str
    licence: str
    licence_files: tuple[str, ...]


def load_components(path: Path = COMPONENTS) -> tuple[Named, ...]:
    """All components that are compiled in, of any TensorFlow version.

    Raises:
        UsageError: the file is malformed.
    """
    top = Row(path.name, read_toml(path))
    found = []
    for row in top.rows("component", "name"):
        found.append(
            Named(
                name=row.take("name", str),
                bazel=row.take("bazel", str, default=""),
                cmake=row.take("cmake", str, default=""),
                before=row.take("before", str, is_version, default=""),
                licence=row.take("licence", str),
                licence_files=row.strings("licence_files"),
            )
        )
        row.done()
    top.done()
    return tuple(found)


def generate(
    tensorflow: TensorFlow,
    tree: Path,
    kept: Lock | None,
    cmake_pins: Mapping[str, cmake.Pin],
) -> Lock:
    """The lock that a tree of a TensorFlow version calls for.

    Args:
        tree: the folder with `tensorflow/` and `third_party/` in it.
        kept: the lock that there is, whose other origins are kept.
        cmake_pins: see `cmake_pins_of`; of no consequence to a lock of origin upstream alone.

    Raises:
        ArchiveError: the tree does not pin a component, or not by checksum.
    """
    pins = bazel.read_pins(tree)
    there = {component.name: component for component in kept.components} if kept else {}
    components = []
    for named in load_components():
        if named.before and Version(tensorflow.version) >= Version(named.before):
            continue
        others = dict(there[named.name].origins) if named.name in there else {}
        was = others.pop(UPSTREAM, None)
        # A tree of no release may be known from other origins alone; all else it pins itself.
        if named.bazel or tensorflow.sha256 or not others:
            pinned = _upstream(named, tensorflow, pins)
            # The tree tells the commit, and not its day.
            if was is not None and was.version == pinned.version:
                pinned = replace(pinned, date=was.date)
            others = {UPSTREAM: pinned} | others
        components.append(
            Component(
                name=named.name,
                licence=named.licence,
                licence_files=named.licence_files,
                origins=others,
            )
        )
    lock = Lock(tensorflow=tensorflow.version, components=tuple(components))
    return with_relations(lock, cmake_pins)


def cmake_pins_of(tree: Path) -> dict[str, cmake.Pin]:
    """What the tree's CMake files pin, by the component's name.

    Raises:
        ArchiveError: CMake cannot read the tree's modules.
    """
    pins = cmake.read_pins(tree)
    return {
        named.name: pin for named in load_components() if (pin := pins.get(named.cmake)) is not None
    }


def upstream_tarball(tensorflow: TensorFlow) -> Origin:
    """Where upstream has a version's tree, which does not pin itself: the matrix does.

    Raises:
        UsageError: it does not, as for a version that upstream never released.
    """
    if not tensorflow.sha256:
        raise UsageError(
            f"the matrix has no checksum of TensorFlow {tensorflow.version}'s source archive",
            remedy="add its sha256 to builders/matrix.toml, or give an origin to a lock by hand",
        )
    return Origin(
        name=UPSTREAM,
        version=tensorflow.version,
        archive=Archive(url=TARBALL.format(version=tensorflow.version), sha256=tensorflow.sha256),
        folder=f"tensorflow-{tensorflow.version}",
    )


def _upstream(named: Named, tensorflow: TensorFlow, pins: Mapping[str, bazel.Pin]) -> Origin:
    if not named.bazel:
        return upstream_tarball(tensorflow)
    pin = pins.get(named.bazel)
    if pin is None:
        raise ArchiveError(f"the tree pins no {named.name} ({named.bazel} of Bazel)")
    if not is_sha256(pin.sha256):
        raise ArchiveError(f"{pin.file} pins {named.name} without a SHA-256: {pin.sha256!r}")
    return Origin(
        name=UPSTREAM,
        version=pin.version,
        archive=Archive(url=pin.url, sha256=pin.sha256),
        folder=pin.folder,
    )


def differing(lock: Lock, cmake_pins: Mapping[str, cmake.Pin]) -> Iterator[str]:
    """A line for each component that CMake would take from elsewhere than the lock does."""
    for component in lock.components:
        origin, pin = component.origins.get(UPSTREAM), cmake_pins.get(component.name)
        if origin is None or pin is None:
            continue
        if pin.version:
            taken, other = origin.version, pin.version
        else:
            taken, other = origin.archive.sha256, pin.sha256
        if taken != other:
            yield f"{component.name}: CMake pins {other}; taken is Bazel's {taken}, by SHA-256"


def changes(old: Lock, new: Lock) -> Iterator[str]:
    """A line for each difference between two locks, naming the component."""
    before = {component.name: component for component in old.components}
    after = {component.name: component for component in new.components}
    for name in sorted(before.keys() - after.keys()):
        yield f"{name}: is no component any more"
    for name, component in after.items():
        was = before.get(name)
        if was is None:
            yield f"{name}: is new"
            continue
        if (was.licence, was.licence_files) != (component.licence, component.licence_files):
            yield f"{name}: its licence is {component.licence}, was {was.licence}"
        for origin in sorted(component.origins.keys() | was.origins.keys()):
            then, now = was.origins.get(origin), component.origins.get(origin)
            if _where(then) != _where(now):
                yield f"{name}: {origin} is {_where(now)}, was {_where(then)}"
            elif then and now and _belonging(then) != _belonging(now):
                yield f"{name}: {origin} is {_belonging(now)}, was {_belonging(then)}"
            if then and now and then.excerpt != now.excerpt:
                yield f"{name}: {origin} has its folder in other blocks"


def _where(origin: Origin | None) -> str:
    if origin is None:
        return "nothing"
    where = f"{origin.archive.location} {origin.folder}".rstrip()
    return f"{origin.version} ({where}, sha256 {origin.archive.sha256})"


def _belonging(origin: Origin) -> str:
    relation = origin.relation or "of no known relation"
    return f"{relation}, of {origin.date}" if origin.date else relation


def lock_text(lock: Lock) -> str:
    """A lock as its file has it."""
    parts = [HEADER.format(version=lock.tensorflow)]
    for component in lock.components:
        files = ", ".join(f'"{file}"' for file in component.licence_files)
        parts.append(
            f'\n[[component]]\nname = "{component.name}"\nlicence = "{component.licence}"\n'
            f"licence_files = [{files}]\n"
        )
        for origin in component.origins.values():
            date = f"date = {origin.date}\n" if origin.date else ""
            values = {
                "url": origin.archive.url,
                "debian": origin.archive.debian,
                "pypi": origin.archive.pypi,
                "sha256": origin.archive.sha256,
                "folder": origin.folder,
                "relation": origin.relation,
            }
            lines = "".join(f'{key} = "{value}"\n' for key, value in values.items() if value)
            if size := origin.archive.size:
                lines += f"size = {size}\n"
            lines += _excerpt_lines(origin)
            head = f'[component.origins.{origin.name}]\nversion = "{origin.version}"\n{date}'
            parts.append(f"\n{head}{lines}")
    return "".join(parts)


def _excerpt_lines(origin: Origin) -> str:
    if (excerpt := origin.excerpt) is None:
        return ""
    spans = ", ".join(f"[{start}, {end}]" for start, end in excerpt.spans)
    blocks = "".join(
        f'    [{block.offset}, {block.length}, "{block.sha256}"],\n' for block in excerpt.blocks
    )
    return f"spans = [{spans}]\nblocks = [\n{blocks}]\n"
