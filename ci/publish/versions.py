"""Sentences about each published TensorFlow version; page and WHEELS.md use the same ones."""

from __future__ import annotations

from dataclasses import dataclass

from builders.matrix import Matrix
from ci.publish.manifest import PROJECT, Manifest, Wheel

OLDER = "Older versions are there for those who need them."


@dataclass(frozen=True, kw_only=True)
class Published:
    """A TensorFlow version that has current wheels.

    Attributes:
        about: a sentence that describes the version.
        components: a sentence about substituted components; empty if no wheel records them.
    """

    version: str
    recommended: bool
    about: str
    components: str


def published(manifest: Manifest, matrix: Matrix) -> list[Published]:
    """Return every version of the current wheels: the recommended first, then the newest."""
    wheels: dict[str, list[Wheel]] = {}
    for wheel in sorted(manifest.current, key=lambda wheel: wheel.order, reverse=True):
        wheels.setdefault(wheel.tensorflow, []).append(wheel)
    abouts = {row.version: row.about for row in matrix.tensorflows}
    found = [
        Published(
            version=version,
            recommended=version == matrix.recommended.version,
            # The default is for a version that the matrix no longer has.
            about=f"{abouts.get(version, f'TensorFlow {version}')}.",
            components=components(of),
        )
        for version, of in wheels.items()
    ]
    return sorted(found, key=lambda each: not each.recommended)


def components(wheels: list[Wheel]) -> str:
    """Return a sentence about the substituted components of one version's wheels.

    It is empty if no wheel records them.
    """
    told = [wheel.substituted for wheel in wheels if wheel.substituted is not None]
    if not told:
        return ""
    # Substitutes differ if wheels were built from different origins.
    substitutes = {f"{name} ({version})" for found in told for name, version in found.items()}
    if not substitutes:
        return "Each component is the one that it pins, or is shipped together with it."
    return f"Not what it pins, but substituted: {', '.join(sorted(substitutes))}."


def requirement(manifest: Manifest, matrix: Matrix) -> str:
    """Return the requirement with which pip takes the recommended version from the index.

    Given only the project's name, pip takes no pre-release if there is a release.
    """
    version = matrix.recommended.version
    wheels = [wheel for wheel in manifest.current if wheel.tensorflow == version]
    early = any(wheel.is_pre_release for wheel in wheels)
    return f"{PROJECT}=={version}" if early else PROJECT
