"""The published TensorFlow versions in a sentence each, and how their components belong."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from packaging.version import Version
from test_publish_manifest import WHEEL

from builders.errors import PublishError
from builders.matrix import load_matrix
from builders.sbom import Part
from ci.publish.manifest import PROJECT, Manifest, NumPy, Wheel, decode
from ci.publish.product import Contents
from ci.publish.versions import published, requirement

MATRIX = load_matrix()
RECOMMENDED = replace(
    WHEEL, tensorflow=MATRIX.recommended.version, file="recommended.whl", target="tf2-cp312-x86_64"
)
OLD = replace(WHEEL, tensorflow="2.5.0", file="old.whl", target="tf2.5.0-cp312-x86_64")
NEWER = replace(WHEEL, tensorflow="2.99.0", file="newer.whl", target="tf2.99.0-cp312-x86_64")


def manifest(*wheels: Wheel) -> Manifest:
    return Manifest().with_wheels(wheels)


def test_the_recommended_one_is_first_and_then_the_newest() -> None:
    found = published(manifest(OLD, NEWER, RECOMMENDED), MATRIX)
    assert [version.version for version in found] == [
        MATRIX.recommended.version,
        "2.99.0",
        OLD.tensorflow,
    ]
    assert [version.recommended for version in found] == [True, False, False]
    assert found[0].about == f"{MATRIX.recommended.about}."
    # The matrix has no such row.
    assert found[1].about == "TensorFlow 2.99.0."
    assert published(Manifest(), MATRIX) == []


@pytest.mark.parametrize(
    ("substituted", "sentence"),
    [
        ([None, None], ""),
        ([None, {}], "Each component is the one that it pins, or is shipped together with it."),
        ([{}, {"ruy": "2 for 1"}], "Not what it pins, but substituted: ruy (2 for 1)."),
        (
            [{"xnnpack": "2 for 1"}, {"ruy": "2 for 1", "xnnpack": "2 for 1"}],
            "Not what it pins, but substituted: ruy (2 for 1), xnnpack (2 for 1).",
        ),
    ],
)
def test_how_components_belong_is_what_the_wheels_say(
    substituted: list[dict[str, str] | None], sentence: str
) -> None:
    wheels = [
        replace(WHEEL, substituted=told, file=f"{number}.whl", target=f"tf2.14.1-cp3{number}-x")
        for number, told in enumerate(substituted)
    ]
    (version,) = published(Manifest(tuple(wheels)), MATRIX)
    assert version.components == sentence


def test_pip_is_asked_for_a_pre_release_by_its_version() -> None:
    early = Version(MATRIX.recommended.version).is_prerelease
    wanted = f"{PROJECT}=={MATRIX.recommended.version}" if early else PROJECT
    assert requirement(manifest(OLD, RECOMMENDED), MATRIX) == wanted
    # What is not there cannot be asked for.
    assert requirement(manifest(OLD), MATRIX) == PROJECT


def part(name: str, **belongs: str) -> Part:
    return Part(
        name=name,
        version="2" * 40,
        licence="MIT",
        origin="debian",
        location="x",
        sha256="0" * 64,
        **belongs,
    )


def test_a_wheel_says_which_of_its_components_are_substitutes() -> None:
    contents = Contents(
        metadata=b"",
        requires_python="",
        numpy=NumPy(floor="1", below="2"),
        parts=(
            part("xnnpack", relation="substituted", date="2023-09-25", pin="1" * 40),
            part("ruy", relation="shipped together"),
            part("numpy"),
        ),
    )
    assert contents.substituted == {"xnnpack": "2222222 of 2023-09-25 for 1111111"}
    assert replace(contents, parts=contents.parts[1:]).substituted == {}
    # As in wheels from before it was recorded.
    assert replace(contents, parts=contents.parts[2:]).substituted is None


def test_the_manifest_keeps_it_and_says_nothing_of_a_wheel_that_does_not() -> None:
    told = replace(WHEEL, substituted={"ruy": "2 for 1"})
    assert decode(Manifest((told,)).encode()).wheels == (told,)
    assert decode(Manifest((WHEEL,)).encode()).wheels == (WHEEL,)
    assert "substituted" not in json.loads(Manifest((WHEEL,)).encode())["wheels"][0]
    with pytest.raises(PublishError, match="does not fit its schema"):
        Manifest((replace(WHEEL, substituted={"ruy": ""}),)).encode()
