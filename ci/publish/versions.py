"""The published TensorFlow versions, in a sentence each; page and WHEELS.md say the same."""

from __future__ import annotations

from dataclasses import dataclass

from builders.matrix import Matrix
from ci.publish.manifest import PROJECT, Manifest, Wheel

OLDER = "Older versions are there for those who need them."


@dataclass(frozen=True, kw_only=True)
class Published:
    """One TensorFlow version of which there are current wheels.

    Attributes:
        about: what it is, a sentence.
        components: how its components belong to it, a sentence; empty where no wheel says it.
    """

    version: str
    recommended: bool
    about: str
    components: str


def published(manifest: Manifest, matrix: Matrix) -> list[Published]:
    """Every version of the current wheels: the recommended first, then the newest."""
    wheels: dict[str, list[Wheel]] = {}
    for wheel in sorted(manifest.current, key=lambda wheel: wheel.order, reverse=True):
        wheels.setdefault(wheel.tensorflow, []).append(wheel)
    abouts = {row.version: row.about for row in matrix.tensorflows}
    found = [
        Published(
            version=version,
            recommended=version == matrix.recommended.version,
            # A row that the matrix lost.
            about=f"{abouts.get(version, f'TensorFlow {version}')}.",
            components=components(of),
        )
        for version, of in wheels.items()
    ]
    return sorted(found, key=lambda each: not each.recommended)


def components(wheels: list[Wheel]) -> str:
    """How the components of wheels of one version belong to it, by what the wheels say."""
    told = [wheel.substituted for wheel in wheels if wheel.substituted is not None]
    if not told:
        return ""
    # They differ where wheels were built from different origins.
    substitutes = {f"{name} ({version})" for found in told for name, version in found.items()}
    if not substitutes:
        return "Each component is the one that it pins, or is shipped together with it."
    return f"Not what it pins, but substituted: {', '.join(sorted(substitutes))}."


def requirement(manifest: Manifest, matrix: Matrix) -> str:
    """What to ask pip for to get the recommended version from the index.

    By the project's name alone pip takes no pre-release where there is a release.
    """
    version = matrix.recommended.version
    wheels = [wheel for wheel in manifest.current if wheel.tensorflow == version]
    early = any(wheel.is_pre_release for wheel in wheels)
    return f"{PROJECT}=={version}" if early else PROJECT
