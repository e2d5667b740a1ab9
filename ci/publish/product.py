"""The files of a published wheel: the wheel, and the files made from its content."""

from __future__ import annotations

import json
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path
from typing import Any

from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.tags import parse_tag

from builders.audit import PACKAGE
from builders.audit.wheelfile import Archive, read_archive
from builders.audit.zip_layout import DamagedWheelError
from builders.core_metadata import requirement_of
from builders.errors import PublishError
from builders.locking.coherence import stand_in
from builders.sbom import PROPERTIES, Part
from builders.sources import Relation
from ci.publish.manifest import NumPy, Wheel

# The origin of components that come as wheels. All other components of a build share one origin.
PYPI = "pypi"


def metadata_path(file: str) -> str:
    """Return the path at which clients look for a wheel's metadata (PEP 658)."""
    return f"{file}.metadata"


def provenance_path(file: str) -> str:
    """Return the path of the statement of how a wheel was built."""
    return f"provenance/{file}.json"


def attestation_path(file: str) -> str:
    """Return the path of the signed statement of how a wheel was built (PEP 740)."""
    return f"{file}.provenance"


def stored_files(wheel: Wheel) -> dict[str, str]:
    """Return the SHA-256 of each file of a wheel, by path below wheels/; these never change."""
    files = {
        wheel.file: wheel.sha256,
        metadata_path(wheel.file): wheel.metadata_sha256,
        provenance_path(wheel.file): wheel.provenance_sha256,
    }
    if wheel.attestation_sha256 is not None:
        files[attestation_path(wheel.file)] = wheel.attestation_sha256
    return files


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The facts that a wheel states about itself.

    Attributes:
        metadata: the bytes of its METADATA file.
        parts: the components of its SBOM.
    """

    metadata: bytes
    requires_python: str
    numpy: NumPy
    parts: tuple[Part, ...]

    @property
    def origin(self) -> str:
        """The origin of the locks from which the wheel's sources came.

        Raises:
            PublishError: the SBOM does not name exactly one such origin.
        """
        origins = {part.origin for part in self.parts} - {PYPI}
        if len(origins) != 1:
            raise PublishError(f"its SBOM names the origins {sorted(origins)}, expected one")
        return origins.pop()

    @property
    def substituted(self) -> dict[str, str] | None:
        """The components that are substitutes, each with what it stands in for.

        None if no component states its relation to TensorFlow: old wheels do not record it.
        """
        if not any(part.relation for part in self.parts):
            return None
        return {
            part.name: stand_in(part.version, part.belonging)
            for part in self.parts
            if part.relation == Relation.SUBSTITUTED
        }


def read_contents(path: Path) -> Contents:
    """Read a wheel.

    Raises:
        PublishError: the wheel is damaged, or is not made as wheels of this repository are.
    """
    try:
        archive = read_archive(path)
        text = archive.metadata("METADATA") or b""
        metadata = Metadata.from_email(text)
        numpy = requirement_of(_python(archive), metadata.requires_dist or ())
        sbom = json.loads(archive.metadata(f"sboms/{PACKAGE}.cdx.json") or b"")
        return Contents(
            metadata=text,
            requires_python=str(metadata.requires_python),
            numpy=_numpy(numpy),
            parts=tuple(_part(component) for component in sbom["components"]),
        )
    # A wrong METADATA gives an ExceptionGroup of InvalidMetadata.
    except (DamagedWheelError, ExceptionGroup, ValueError, LookupError, TypeError) as error:
        raise PublishError(f"{path.name} is no wheel of this repository: {error}") from error


def _python(archive: Archive) -> str:
    """Return the Python, such as 3.12, of the tag in the WHEEL file."""
    wheel = message_from_bytes(archive.metadata("WHEEL") or b"")
    tags = [tag for line in wheel.get_all("Tag", []) for tag in parse_tag(str(line))]
    [interpreter] = {tag.interpreter for tag in tags}
    return f"{interpreter[2]}.{interpreter[3:]}"


def _numpy(requirement: Requirement) -> NumPy:
    ends = {specifier.operator: specifier.version for specifier in requirement.specifier}
    if requirement.name != "numpy" or set(ends) != {">=", "<"}:
        raise ValueError(f"it requires {requirement}")
    return NumPy(floor=ends[">="], below=ends["<"])


def _part(component: dict[str, Any]) -> Part:
    properties = {item["name"]: item["value"] for item in component["properties"]}
    (hashed,) = component["hashes"]
    (source,) = component["externalReferences"]
    (licence,) = component["licenses"]
    return Part(
        name=component["name"],
        version=component["version"],
        licence=licence["expression"],
        location=source["url"],
        sha256=hashed["content"],
        # Wheels that were published early do not record a component's relation to TensorFlow.
        **{name: value for name, value in properties.items() if name in PROPERTIES},
    )
