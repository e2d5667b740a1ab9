"""The SBOM of a wheel: CycloneDX, in .dist-info/sboms/ (PEP 770).

auditwheel writes an SBOM for the libraries that it grafts into a wheel. Our wheels link
everything statically, so we write this SBOM ourselves.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6

NAMESPACE = uuid.UUID("6ac4f4c8-52a5-5a0e-9a7c-5d9d3a3f9d0b")
# The attributes of a part for which CycloneDX has no field.
BELONGING = ("relation", "date", "pin", "pin_date")
PROPERTIES = ("origin", *BELONGING)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A component, as it was compiled in.

    Attributes:
        relation: how the component belongs to TensorFlow (see builders/locking/coherence.py).
            Like `date`, `pin` and `pin_date`, it is empty if it is unknown, as in wheels that
            were published before it was recorded, or if it makes no sense, as for a
            compiler's library.
    """

    name: str
    version: str
    licence: str
    origin: str
    location: str
    sha256: str
    relation: str = ""
    date: str = ""
    pin: str = ""
    pin_date: str = ""

    @property
    def belonging(self) -> dict[str, str]:
        """The known facts of how the component belongs to TensorFlow, by attribute."""
        found = {name: getattr(self, name) for name in BELONGING}
        return {name: value for name, value in found.items() if value}


def make_sbom(project: str, version: str, identifier: str, parts: Sequence[Part]) -> str:
    """Return the SBOM of one wheel as JSON.

    Args:
        identifier: the target's identifier. The serial number is made from it and the
            parts, so that the same inputs give the same bytes.
    """
    seed = "\n".join([identifier, *(f"{part}" for part in parts)])
    bom = Bom(serial_number=uuid.uuid5(NAMESPACE, seed))
    bom.metadata.timestamp = None  # type: ignore[assignment]
    root = Component(name=project, version=version, type=ComponentType.LIBRARY, bom_ref=project)
    bom.metadata.component = root
    components = [_component(part) for part in parts]
    for component in components:
        bom.components.add(component)
    bom.register_dependency(root, components)
    text: str = JsonV1Dot6(bom).output_as_string(indent=1)
    return text + "\n"


def _component(part: Part) -> Component:
    component = Component(
        name=part.name,
        version=part.version,
        type=ComponentType.LIBRARY,
        bom_ref=part.name,
        licenses=[LicenseExpression(part.licence)],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=part.sha256)],
        properties=[
            Property(name=name, value=value)
            for name, value in {"origin": part.origin, **part.belonging}.items()
        ],
    )
    kind = ExternalReferenceType.SOURCE_DISTRIBUTION
    component.external_references.add(ExternalReference(type=kind, url=XsUri(part.location)))
    return component


def parts_of(components: Sequence[Mapping[str, str]]) -> list[Part]:
    """Return the parts that a core's record names."""
    return [Part(**component) for component in components]
