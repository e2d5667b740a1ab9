"""Check that the SBOM names the compiled-in components with version, licence and hash."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

from cyclonedx.exception import MissingOptionalDependencyException
from cyclonedx.schema import SchemaVersion

from builders.audit.packaging_checks import Wheel, some
from builders.audit.report import Check

COMPONENTS = ("tensorflow", "xnnpack", "pybind11")

# The SBOM of our wheels has 15,000 bytes and 20 components. The length of lists has a limit
# because a validator compares each item of a list with every other item.
SBOM_LIMIT = 256_000
LIST_LIMIT = 200


def check_sbom(wheel: Wheel) -> Check:
    """Check that the wheel has exactly one CycloneDX document, which is valid and complete.

    Source: PEP 770; https://cyclonedx.org/docs/1.6/json/
    """
    prefix = f"{wheel.archive.dist_info}/sboms/"
    documents = [data for name, data in wheel.archive.contents.items() if name.startswith(prefix)]
    if len(documents) != 1:
        return Check.of("sbom", [f"{len(documents)} SBOMs, expected one"], "")
    if len(documents[0]) > SBOM_LIMIT:
        return Check.of("sbom", [f"has {len(documents[0]):,} bytes > {SBOM_LIMIT:,}"], "")
    try:
        text = documents[0].decode()
        bom = json.loads(text)
        if (longest := _longest_list(bom)) > LIST_LIMIT:
            return Check.of("sbom", [f"has a list of {longest} items > {LIST_LIMIT}"], "")
        version = SchemaVersion.from_version(bom["specVersion"])
        components = {str(item["name"]).lower(): item for item in bom["components"]}
        faults = list(_faults(bom, components, wheel))
        schema, fault = _against_schema(text, version)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        return Check.of("sbom", [f"not CycloneDX in JSON: {error!r}"], "")
    return Check.of(
        "sbom",
        [*faults, *fault],
        f"CycloneDX {version.to_version()}, {len(components)} components, {schema}",
    )


def _longest_list(value: object) -> int:
    if isinstance(value, dict):
        return max(map(_longest_list, value.values()), default=0)
    if isinstance(value, list):
        return max([len(value), *map(_longest_list, value)])
    return 0


# A call takes seconds, and a fuzzer asks for the same document again and again.
@functools.lru_cache(maxsize=4)
def _against_schema(text: str, version: SchemaVersion) -> tuple[str, tuple[str, ...]]:
    # This import takes five seconds (it builds a grammar of IRIs), and every command imports this
    # module. So the import is here.
    from cyclonedx.validation.json import JsonStrictValidator

    try:
        wrong = JsonStrictValidator(version).validate_str(text)
    except MissingOptionalDependencyException:
        # The lock of the environment decides if the extra `json-validation` is installed.
        return "schema not checked", ()
    return "schema valid", (f"against the schema: {wrong}".splitlines()[0],) if wrong else ()


def _faults(bom: dict[str, Any], components: dict[str, Any], wheel: Wheel) -> Iterator[str]:
    if bom.get("bomFormat") != "CycloneDX":
        yield f"bomFormat is {bom.get('bomFormat')}, expected CycloneDX"
    if missing := [name for name in COMPONENTS if name not in components]:
        yield f"does not name {some(missing)}"
    for what, has in (("version", _version), ("licence", _licence), ("sha256", _sha256)):
        if without := sorted(name for name, item in components.items() if not has(item)):
            yield f"no {what}: {some(without)}"
    if (tensorflow := wheel.name.tensorflow) is not None and "tensorflow" in components:
        found = components["tensorflow"].get("version")
        if found != tensorflow.version:
            yield f"TensorFlow is {found}, expected {tensorflow.version}"


def _version(item: dict[str, Any]) -> bool:
    return bool(item.get("version"))


def _licence(item: dict[str, Any]) -> bool:
    return any(
        entry.get("expression") or entry.get("license") for entry in item.get("licenses", [])
    )


def _sha256(item: dict[str, Any]) -> bool:
    return any(entry.get("alg") == "SHA-256" for entry in item.get("hashes", []))
