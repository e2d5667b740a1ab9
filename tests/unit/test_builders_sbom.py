"""The SBOM of a wheel."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from builders.sbom import Part, make_sbom, parts_of

SUBSTITUTED = {
    "relation": "substituted",
    "date": "2006-12-28",
    "pin": "1.0",
    "pin_date": "2006-12-27",
}
PARTS = [
    Part(
        name=name,
        version=version,
        licence=licence,
        origin="debian",
        location=f"debian:{name}.tar.xz",
        sha256=str(number) * 64,
        **belongs,
    )
    for number, (name, version, licence, belongs) in enumerate(
        [
            ("tensorflow", "2.14.1", "Apache-2.0", {"relation": "pinned"}),
            ("fft2d", "2006-12-28", "LicenseRef-fft2d", SUBSTITUTED),
            ("libcxx", "ziglang 0.17.0", "Apache-2.0 WITH LLVM-exception", {}),
        ]
    )
]


def make(parts: list[Part] = PARTS, identifier: str = "tf2.14.1-cp312-x86_64") -> str:
    return make_sbom("tflite_runtime", "2.14.1", identifier, parts)


def test_the_same_inputs_give_the_same_bytes() -> None:
    assert make() == make(list(PARTS))
    assert make().endswith("}\n")


def test_it_is_valid_cyclonedx() -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(make()) is None


def test_every_part_is_there_with_all_that_is_known_of_it() -> None:
    found = []
    for component in json.loads(make())["components"]:
        [digest] = component["hashes"]
        [reference] = component["externalReferences"]
        assert (digest["alg"], reference["type"]) == ("SHA-256", "source-distribution")
        found.append(
            Part(
                name=component["name"],
                version=component["version"],
                licence=component["licenses"][0]["expression"],
                location=reference["url"],
                sha256=digest["content"],
                **{item["name"]: item["value"] for item in component["properties"]},
            )
        )
    assert sorted(found, key=str) == sorted(PARTS, key=str)


def test_the_wheel_depends_on_every_part() -> None:
    bom = json.loads(make())
    root = bom["metadata"]["component"]
    assert (root["name"], root["version"]) == ("tflite_runtime", "2.14.1")
    [edges] = [d for d in bom["dependencies"] if d["ref"] == root["bom-ref"]]
    assert sorted(edges["dependsOn"]) == sorted(part.name for part in PARTS)


def test_nothing_of_the_moment_is_in_it() -> None:
    assert "timestamp" not in json.loads(make())["metadata"]


@pytest.mark.parametrize("name", [field.name for field in fields(Part)])
def test_what_differs_has_another_serial_number(name: str) -> None:
    value = {"licence": "MIT", "sha256": "f" * 64}.get(name, "other")
    changed = [replace(PARTS[0], **{name: value}), *PARTS[1:]]
    assert json.loads(make(changed))["serialNumber"] != json.loads(make())["serialNumber"]


def test_each_target_has_a_serial_number_of_its_own() -> None:
    other = make(identifier="tf2.14.1-cp311-x86_64")
    assert json.loads(other)["serialNumber"] != json.loads(make())["serialNumber"]


def test_parts_are_read_from_a_record() -> None:
    record = [{field.name: getattr(part, field.name) for field in fields(Part)} for part in PARTS]
    assert parts_of(record) == PARTS
