"""Rebuilds published wheels from source, and compares the results byte by byte."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from builders.matrix import Matrix, Target
from builders.wheel import wheel_name
from ci.publish.manifest import Wheel
from ci.publish.product import read_contents

# The attributes of a zip member, besides its bytes, that an installer or a person can see.
TRAITS = ("filename", "date_time", "external_attr", "create_system", "extra", "comment")


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """The comparison of a rebuilt wheel with the published one.

    Attributes:
        ok: True if both have the same bytes.
        detail: one line for people.
    """

    file: str
    ok: bool
    detail: str


def rebuild(
    wheel: Wheel, folder: Path, matrix: Matrix, build: Callable[[Target, str], Path]
) -> Rebuilt:
    """Build a published wheel again, and compare the two.

    Args:
        folder: the folder of the published wheel.
        build: builds the wheel of a target from an origin of the locks, and returns its path.
    """
    target = next((t for t in matrix.targets() if t.identifier == wheel.target), None)
    if target is None or wheel_name(target) != wheel.file:
        return Rebuilt(
            file=wheel.file,
            ok=False,
            detail="the matrix does not make it any more: check out the commit that its "
            "provenance names, and build there",
        )
    published = folder / wheel.file
    # Take the same origin: another has the same code with other checksums, and the SBOM has these.
    rebuilt = build(target, read_contents(published).origin)
    return compare(published, rebuilt)


def compare(published: Path, rebuilt: Path) -> Rebuilt:
    """Compare the bytes of two wheels; if they differ, name the members that differ."""
    if published.read_bytes() == rebuilt.read_bytes():
        return Rebuilt(file=published.name, ok=True, detail="same bytes")
    with zipfile.ZipFile(published) as old, zipfile.ZipFile(rebuilt) as new:
        if old.namelist() != new.namelist():
            differ = sorted(set(old.namelist()) ^ set(new.namelist())) or ["their order"]
            return Rebuilt(file=published.name, ok=False, detail=f"members: {', '.join(differ)}")
        differ = [
            name
            for name in old.namelist()
            if old.read(name) != new.read(name)
            or any(
                getattr(old.getinfo(name), trait) != getattr(new.getinfo(name), trait)
                for trait in TRAITS
            )
        ]
    detail = f"differs in {', '.join(differ)}" if differ else "only the compression differs"
    return Rebuilt(file=published.name, ok=False, detail=detail)
